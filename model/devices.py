"""What TensorFlow runs on."""

import tensorflow as tf


def initialise_devices() -> list[str]:
    """Look for devices now rather than at the first operation, and return their names, such as CPU:0.

    The native libraries have their say on standard error meanwhile; callers keep it from the user with
    `stages.quiet_imports`.
    """
    return [device.name.rpartition("device:")[2] for device in tf.config.list_logical_devices()]
