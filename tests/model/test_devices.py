import os

import pytest
import tensorflow as tf

from model import replicas
from model.cluster import Cluster
from model.devices import Devices, check_device, choose_devices, choose_threads, initialise_devices, step_flops
from model.errors import BadUsage
from model.recipes import RECIPES, override

FLAGS = "--xla_cpu_multi_thread_eigen=false --xla_cpu_experimental_ynn_fusion_type=-LIBRARY_FUSION_TYPE_REDUCE"


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
        ("gpu:1", 2, 2, ("GPU:1",)),  # one GPU for all replicas, in turn
    ],
)
def test_devices_are_chosen_by_name_replicas_and_gpus(wanted, num_replicas, num_gpus, expected):
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
def test_too_few_gpus_are_an_error(wanted, num_replicas, num_gpus, message):
    with pytest.raises(BadUsage, match=message):
        choose_devices(wanted, num_replicas, num_gpus)


@pytest.mark.parametrize("wanted", ["", "GPU", "gpu:", "gpu:-1", "gpu:x", "gpu:0x", "cpu:0", "tpu", " gpu", "gpu:1\n"])
def test_unknown_device_names_are_rejected(wanted):
    with pytest.raises(BadUsage, match="no such device"):
        check_device(wanted)


class FakeGpus:
    """Replaces the configuration of TensorFlow by that of a machine with two GPUs, and records the calls."""

    def __init__(self, monkeypatch):
        monkeypatch.setenv("XLA_FLAGS", "")
        self.gpus = [tf.config.PhysicalDevice(f"/physical_device:GPU:{i}", "GPU") for i in range(2)]
        self.visible = list(self.gpus)
        self.growing = []
        monkeypatch.setattr(tf.config, "list_physical_devices", {"GPU": self.gpus, "CPU": ["cpu"]}.__getitem__)
        monkeypatch.setattr(tf.config, "set_visible_devices", self.show)
        monkeypatch.setattr(tf.config, "list_logical_devices", list)
        monkeypatch.setattr(tf.config.experimental, "set_memory_growth", self.grow)
        self.tf32 = []
        monkeypatch.setattr(tf.config.experimental, "enable_tensor_float_32_execution", self.tf32.append)

    def show(self, devices, kind):
        assert kind == "GPU"
        self.visible = devices

    def grow(self, gpu, wanted):
        assert wanted
        self.growing.append(gpu)


@pytest.fixture
def fake_gpus(monkeypatch):
    return FakeGpus(monkeypatch)


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
def test_gpu_chosen_by_number_is_the_only_visible_one(wanted, num_replicas, visible, expected, fake_gpus):
    assert initialise_devices(wanted, num_replicas) == expected
    assert fake_gpus.visible == [fake_gpus.gpus[i] for i in visible]
    assert fake_gpus.growing == ([] if wanted == "cpu" else fake_gpus.gpus)


def test_gpus_compile_deterministic_kernels_unless_the_user_says_otherwise(fake_gpus, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_gpu_autotune_level=4")
    initialise_devices("gpu")
    assert os.environ["XLA_FLAGS"].split() == [
        "--xla_gpu_autotune_level=4",
        "--xla_gpu_deterministic_ops=true",
        "--xla_gpu_enable_triton_gemm=false",
    ]


@pytest.mark.parametrize(("precision", "expected"), [("float32", [False, False]), ("tf32", [False, True])])
def test_training_sets_its_precision_and_whatever_comes_after_is_in_float32(precision, expected, fake_gpus):
    replicas.start_engine(override(RECIPES["article-manual"].config, precision=precision), "gpu", None, "run")
    assert fake_gpus.tf32 == expected
    initialise_devices("gpu")  # as evaluation does
    assert fake_gpus.tf32 == [*expected, False]


@pytest.mark.parametrize("cluster", [None, Cluster(("127.0.0.1:1", "127.0.0.1:2"), 0)])
def test_tf32_without_a_gpu_is_an_error(cluster):
    config = override(RECIPES["article-manual"].config, precision="tf32")
    with pytest.raises(BadUsage, match="precision tf32 needs a GPU"):
        replicas.start_engine(config, "cpu", cluster, "run")


def test_record_names_the_gpu_by_its_number_on_the_machine(fake_gpus, monkeypatch):
    used = []
    monkeypatch.setattr(replicas, "_run_on", lambda device, *_: used.append(device))
    engine = replicas.start_engine(RECIPES["article-manual"].config, "gpu:1", None, "run")
    engine.run_chunk(None, None, None)
    assert (engine.device, used) == ("GPU:1", ["GPU:0"])


def test_flops_of_a_step_are_those_counted_by_hand():
    assert step_flops((784, 30, 10), 10) == 2 * 10 * (23_820 + 23_820 + 300)
    assert step_flops((5, 4), 3) == 2 * 3 * 40


@pytest.mark.parametrize(
    ("layers", "batch_size", "num_threads"),
    [
        ((784, 30, 10), 10, []),  # its products stay on one core anyway
        ((784, 30, 10), 128, [1]),
        ((784, 128, 10), 128, [1]),
        ((784, 512, 512, 10), 128, []),
    ],
)
def test_small_steps_are_restricted_to_one_core_and_all_have_the_same_flags(
    layers, batch_size, num_threads, monkeypatch
):
    monkeypatch.setenv("XLA_FLAGS", "")
    chosen = []
    monkeypatch.setattr(tf.config.threading, "set_intra_op_parallelism_threads", chosen.append)
    choose_threads(layers, batch_size)
    assert (os.environ["XLA_FLAGS"], chosen) == (FLAGS, num_threads)


def test_a_file_of_flags_is_left_alone(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "/etc/xla.flags")
    choose_threads((784, 30, 10), 10)
    assert os.environ["XLA_FLAGS"] == "/etc/xla.flags"


def test_threads_stay_as_they_are_once_devices_are_initialised(monkeypatch):
    flags = "--xla_cpu_multi_thread_eigen=true --xla_cpu_experimental_ynn_fusion_type="
    monkeypatch.setenv("XLA_FLAGS", flags)
    tf.config.list_logical_devices()
    before = tf.config.threading.get_intra_op_parallelism_threads()
    choose_threads((784, 30, 10), 128)
    assert tf.config.threading.get_intra_op_parallelism_threads() == before
    assert os.environ["XLA_FLAGS"] == flags
