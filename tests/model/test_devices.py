import pytest

from model.devices import check_device, choose_devices, initialise_devices
from model.errors import BadUsage


@pytest.mark.parametrize(
    ("wanted", "num_replicas", "num_gpus", "expected"),
    [
        ("auto", 1, 0, ("CPU:0",)),
        ("auto", 1, 2, ("GPU:0",)),
        ("auto", 2, 0, ("CPU:0", "CPU:1")),
        ("auto", 2, 2, ("GPU:0", "GPU:1")),
        ("cpu", 1, 2, ("CPU:0",)),
        ("cpu", 3, 2, ("CPU:0", "CPU:1", "CPU:2")),
        ("gpu", 1, 2, ("GPU:0",)),
        ("gpu", 2, 3, ("GPU:0", "GPU:1")),
        ("gpu:0", 1, 1, ("GPU:0",)),
        ("gpu:1", 1, 2, ("GPU:1",)),
        ("gpu:1", 2, 2, ("GPU:1",)),  # the replicas in turn
    ],
)
def test_choosing(wanted, num_replicas, num_gpus, expected):
    assert choose_devices(wanted, num_replicas, num_gpus) == expected


@pytest.mark.parametrize(
    ("wanted", "num_replicas", "num_gpus", "message"),
    [
        ("gpu", 1, 0, r"--device gpu needs 1 or more GPUs but TensorFlow sees no GPU.*backbeam\[gpu\]"),
        ("gpu:0", 1, 0, "--device gpu:0 needs 1 or more GPUs but TensorFlow sees no GPU"),
        ("gpu:2", 1, 2, "--device gpu:2 needs 3 or more GPUs but TensorFlow sees 2 GPUs"),
        ("gpu", 2, 1, "--device gpu with 2 replicas needs 2 or more GPUs but TensorFlow sees 1 GPU:"),
        ("auto", 2, 1, "--device auto with 2 replicas needs 2 or more GPUs but TensorFlow sees 1 GPU:"),
    ],
)
def test_too_few(wanted, num_replicas, num_gpus, message):
    with pytest.raises(BadUsage, match=message):
        choose_devices(wanted, num_replicas, num_gpus)


@pytest.mark.parametrize("wanted", ["", "GPU", "gpu:", "gpu:-1", "gpu:x", "gpu:0x", "cpu:0", "tpu", " gpu", "gpu:1\n"])
def test_what_is_no_device(wanted):
    with pytest.raises(BadUsage, match="no such device"):
        check_device(wanted)


def test_the_devices_of_this_machine():
    assert initialise_devices("cpu") == ("CPU:0",)
