import pytest
import tensorflow as tf

from model import replicas
from model.devices import Devices, check_device, choose_devices, initialise_devices
from model.errors import BadUsage
from model.recipes import RECIPES


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
    assert initialise_devices("cpu") == Devices(("CPU:0",), ("CPU:0",))


class Pretended:
    """TensorFlow's configuration on a machine with two GPUs, and what it is told."""

    def __init__(self, monkeypatch):
        self.gpus = [tf.config.PhysicalDevice(f"/physical_device:GPU:{i}", "GPU") for i in range(2)]
        self.visible, self.growing = list(self.gpus), []
        monkeypatch.setattr(tf.config, "list_physical_devices", {"GPU": self.gpus, "CPU": ["cpu"]}.__getitem__)
        monkeypatch.setattr(tf.config, "set_visible_devices", self.show)
        monkeypatch.setattr(tf.config, "list_logical_devices", list)
        monkeypatch.setattr(tf.config.experimental, "set_memory_growth", self.grow)

    def show(self, devices, kind):
        assert kind == "GPU"
        self.visible = devices

    def grow(self, gpu, wanted):
        assert wanted
        self.growing.append(gpu)


@pytest.fixture
def pretended(monkeypatch):
    return Pretended(monkeypatch)


@pytest.mark.parametrize(
    ("wanted", "num_replicas", "visible", "expected"),
    [
        ("gpu:1", 1, [1], Devices(("GPU:1",), ("GPU:0",))),
        ("gpu:1", 2, [1], Devices(("GPU:1",), ("GPU:0",))),
        ("gpu:0", 1, [0], Devices(("GPU:0",), ("GPU:0",))),
        ("gpu", 1, [0, 1], Devices(("GPU:0",), ("GPU:0",))),
        ("auto", 2, [0, 1], Devices(("GPU:0", "GPU:1"), ("GPU:0", "GPU:1"))),
        ("cpu", 1, [], Devices(("CPU:0",), ("CPU:0",))),
    ],
)
def test_a_gpu_chosen_by_its_number_is_the_only_one_to_be_seen(wanted, num_replicas, visible, expected, pretended):
    assert initialise_devices(wanted, num_replicas) == expected
    assert pretended.visible == [pretended.gpus[i] for i in visible]
    assert pretended.growing == ([] if wanted == "cpu" else pretended.gpus)


def test_the_record_names_the_gpu_as_the_machine_counts_it(pretended, monkeypatch):
    used = []
    monkeypatch.setattr(replicas, "_run_on", lambda device, *_: used.append(device))
    engine = replicas.start_engine(RECIPES["article-manual"].config, "gpu:1", None, "run")
    engine.run_chunk(None, None, None)
    assert (engine.device, used) == ("GPU:1", ["GPU:0"])
