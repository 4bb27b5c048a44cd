"""Choose and initialise the devices of TensorFlow.

Choosing is a pure function; TensorFlow is imported only to list and configure the devices.
"""

import os
import re
from contextlib import suppress
from itertools import pairwise
from typing import NamedTuple

from model.errors import BadUsage

SMALL_STEP_FLOPS = 100_000_000
# XLA uses several cores from here on even if its flag says not to; measured: from 3 to 6 million
_SINGLE_CORE_FLOPS = 4_000_000
_CPU_FLAGS = ("xla_cpu_multi_thread_eigen=false", "xla_cpu_experimental_ynn_fusion_type=-LIBRARY_FUSION_TYPE_REDUCE")
# XLA times several kernels for each product on a GPU and keeps the fastest, so two processes may keep different ones.
# Without that choice its own products in TensorFloat-32 take up to 8 times as long as cuBLAS's (docs/devices.md).
_GPU_FLAGS = ("xla_gpu_deterministic_ops=true", "xla_gpu_autotune_level=0", "xla_gpu_enable_triton_gemm=false")
_WANTED = re.compile(r"auto|cpu|gpu(?::([0-9]{1,4}))?")


class Devices(NamedTuple):
    """The devices of the replicas of a run: one for each replica, or one for all of them in turn.

    Attributes:
        chosen: names for the run record, such as GPU:1, numbered among all devices of the machine.
        logical: names in this process, numbered among the visible devices.
    """

    chosen: tuple[str, ...]
    logical: tuple[str, ...]


def check_device(wanted: str) -> str:
    """Return the name unchanged if it is auto, cpu, gpu or gpu:N; raises BadUsage if not."""
    if not _WANTED.fullmatch(wanted):
        raise BadUsage(f"no such device: {wanted!r}; there are auto, cpu, gpu and gpu:N, N counted from 0")
    return wanted


def choose_devices(wanted: str, num_replicas: int, num_gpus: int) -> tuple[str, ...]:
    """Choose the devices of the replicas of a run.

    Args:
        wanted: auto (the first GPUs, CPUs if there is none), cpu, gpu (the first) or gpu:N (that one alone).
        num_replicas: as the configuration says.
        num_gpus: how many TensorFlow sees.

    Returns:
        devices such as CPU:0: one for each replica, or one for all of them in turn.

    Raises:
        BadUsage: there is no such device, or too few.
    """
    found = _WANTED.fullmatch(check_device(wanted))
    if wanted == "cpu" or (wanted == "auto" and not num_gpus):
        return tuple(f"CPU:{i}" for i in range(num_replicas))
    if found and found[1]:
        _check_there_are(wanted, int(found[1]) + 1, num_gpus)
        return (f"GPU:{int(found[1])}",)
    _check_there_are(f"{wanted} with {num_replicas} replicas" if num_replicas > 1 else wanted, num_replicas, num_gpus)
    return tuple(f"GPU:{i}" for i in range(num_replicas))


def initialise_devices(wanted: str = "auto", num_replicas: int = 1) -> Devices:
    """Initialise the devices that `choose_devices` chooses, rather than at the first operation, and return their names.

    Devices that are not chosen are made invisible: every GPU for the CPU, every other GPU for gpu:N. GPU memory grows
    as needed, and products are in float32 until `choose_precision` says otherwise. The native libraries write to
    standard error meanwhile; callers hide that with `pipeline.context.quiet_imports`.

    Raises:
        BadUsage: as `choose_devices`.
    """
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    chosen = choose_devices(wanted, num_replicas, len(gpus))
    logical = chosen
    if chosen[0].startswith("CPU"):
        if gpus:
            tf.config.set_visible_devices([], "GPU")
        _split_cpu(len(chosen))
    else:
        for gpu in gpus:
            tf.config.experimental.set_memory_growth(gpu, True)
        _choose_gpu_kernels()
        choose_precision("float32", chosen[0])
        if ":" in wanted:
            tf.config.set_visible_devices([gpus[_number(chosen[0])]], "GPU")
            logical = ("GPU:0",)
    tf.config.list_logical_devices()
    return Devices(chosen, logical)


def _choose_gpu_kernels() -> None:
    """Have XLA compile the same deterministic kernels in every process."""
    _add_flags(*_GPU_FLAGS)


def _add_flags(*wanted: str) -> None:
    """Add flags of XLA to the environment; one that is set there is not changed, nor the name of a file of flags."""
    flags = os.environ.get("XLA_FLAGS", "").strip()
    if flags and not flags.startswith("-"):
        return
    added = [f"--{flag}" for flag in wanted if flag.partition("=")[0] not in flags]
    os.environ["XLA_FLAGS"] = " ".join([flags, *added]).strip()


def choose_precision(precision: str, device: str) -> None:
    """Set the precision of products of float32 matrices on a GPU.

    It holds for functions that are compiled after the call. TensorFlow's own default is TensorFloat-32, whose relative
    error is 3e-4 against 2e-7 (docs/devices.md).

    Args:
        precision: float32 or tf32, as in `model.recipes.TrainingConfig`.
        device: such as GPU:0.

    Raises:
        BadUsage: tf32 is wanted on a device that does not have it.
    """
    import tensorflow as tf

    if device.startswith("GPU"):
        tf.config.experimental.enable_tensor_float_32_execution(precision == "tf32")
    elif precision == "tf32":
        raise BadUsage(f"precision tf32 needs a GPU, and this run would be trained on {device}: use precision float32")


def _number(name: str) -> int:
    return int(name.rpartition(":")[2])


def _split_cpu(num_parts: int) -> None:
    """Split the CPU into several logical devices if there is more than one part."""
    import tensorflow as tf

    if num_parts > 1:
        parts = [tf.config.LogicalDeviceConfiguration() for _ in range(num_parts)]
        tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)


def choose_threads(layers: tuple[int, ...], batch_size: int) -> None:
    """Choose how XLA computes a step on the CPU; restrict it to one core if it is too small to be distributed.

    XLA reads its flags once in a process, at the first compilation, and they can change the order of sums and so a
    run's bits. So they are the same for every network: the products of XLA's own library (Eigen) have one thread (with
    more, a step of a 784-30-10 network at batches of 10 took 26 instead of 19 us), and sums over the batch are left to
    XLA itself. A flag that the user has set is not changed.

    Larger products go to another library within XLA (YNNPACK), which ignores the flag: only the number of TensorFlow's
    threads restricts it. A step of the same network at batches of 128 took 273 us with two cores and 139 us with one,
    with the same bits (tests/benchmarks). That number is fixed as soon as TensorFlow has initialised its devices; later
    calls have no effect. So in one process, as in a notebook, what is trained first decides for what is trained later:
    its time, and its bits only for batches so large that YNNPACK divides their sums (docs/promises.md).

    Args:
        layers: sizes from inputs to outputs.
        batch_size: examples a step.
    """
    _add_flags(*_CPU_FLAGS)
    if _SINGLE_CORE_FLOPS <= step_flops(layers, batch_size) < SMALL_STEP_FLOPS:
        _use_one_thread()


def _use_one_thread() -> None:
    import tensorflow as tf

    with suppress(RuntimeError):  # the devices are initialised
        tf.config.threading.set_intra_op_parallelism_threads(1)


def step_flops(layers: tuple[int, ...], batch_size: int) -> int:
    """Count the floating-point operations of a step's products of matrices, a multiplication and an addition as two.

    Forward and for the gradients of the weights, each layer takes 2 n inputs outputs; so does every layer but the first
    for handing the error back. What is done element by element is not counted.
    """
    products = [inputs * outputs for inputs, outputs in pairwise(layers)]
    return 2 * batch_size * (2 * sum(products) + sum(products[1:]))


def _check_there_are(what: str, needed: int, num_gpus: int) -> None:
    if num_gpus < needed:
        seen = f"TensorFlow sees {num_gpus} GPU{'' if num_gpus == 1 else 's'}" if num_gpus else "TensorFlow sees no GPU"
        raise BadUsage(
            f"--device {what} needs {needed} or more GPUs but {seen}: --device cpu does without; "
            "pip install 'backbeam[gpu]' brings the CUDA libraries that TensorFlow needs beside NVIDIA's driver"
        )
