import os

import pytest

from model.errors import BadUsage
from model.recipes import RECIPES, override
from pipeline.train import memory_check
from pipeline.train.memory_check import (
    check_gradient_check_memory,
    check_memory,
    gradient_check_bytes,
    memory_bytes,
    needed_bytes,
)

GIB = 2**30
LARGE = override(RECIPES["article-manual"].config, layers=(784, 2**20, 10))
LARGE_BATCH = override(RECIPES["article-manual"].config, batch_size=2**31 - 1)


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Write the files in which Linux describes a machine: memory, swap, and limits of control groups."""

    def describe(memory_gib=4, swap_gib=0, groups="0::/a/b", limits=()):
        information = f"MemTotal: {memory_gib * 2**20} kB\nHugePages_Total: 0\nSwapTotal: {swap_gib * 2**20} kB\n"
        (tmp_path / "meminfo").write_text(information)
        (tmp_path / "cgroup").write_text(f"{groups}\n")
        for name, limit in dict(limits).items():
            file = tmp_path / "groups" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{limit}\n")

    monkeypatch.setattr(memory_check, "_MEMORY_INFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory_check, "_PROCESS_CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(memory_check, "_CGROUPS", tmp_path / "groups")
    monkeypatch.setattr(memory_check, "_DEVICE_FILES", tmp_path / "devices")
    return describe


def test_memory_without_limits_is_that_of_the_machine_with_swap(machine):
    machine(memory_gib=4, swap_gib=2, limits={"a/b/memory.max": "max"})
    assert memory_bytes() == 6 * GIB


@pytest.mark.parametrize("on_cpu", [False, True])
def test_each_network_of_a_stack_needs_memory(on_cpu):
    assert needed_bytes(override(LARGE, stack=8), on_cpu) == 8 * needed_bytes(LARGE, on_cpu)


@pytest.mark.parametrize(
    ("groups", "limits"),
    [
        ("0::/a/b", {"a/b/memory.max": GIB}),
        ("0::/a/b", {"a/memory.max": GIB, "a/b/memory.max": "max"}),
        ("0::/", {"memory.max": GIB}),
        (
            "4:cpu:/c\n3:hugetlb,memory:/a",
            {"memory/a/memory.limit_in_bytes": GIB, "memory/memory.limit_in_bytes": 2**62},
        ),
    ],
)
def test_memory_is_the_smallest_limit_of_the_control_groups(groups, limits, machine):
    machine(memory_gib=4, groups=groups, limits=limits)
    assert memory_bytes() == GIB


def test_memory_without_its_file_is_that_of_the_physical_pages(machine, monkeypatch):
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 2**18, "SC_PAGE_SIZE": 2**14}.__getitem__)
    assert memory_bytes() == 4 * GIB
    with pytest.raises(BadUsage, match=r"this machine has 4\.0 GiB"):
        check_memory(LARGE, "cpu")


def unknown_name(name):
    raise ValueError("unrecognized configuration name")


@pytest.mark.parametrize("sysconf", [unknown_name, lambda name: -1, None], ids=["unknown", "indeterminate", "missing"])
def test_any_network_is_accepted_if_the_memory_is_unknown(sysconf, machine, monkeypatch):
    if sysconf:
        monkeypatch.setattr(os, "sysconf", sysconf)
    else:
        monkeypatch.delattr(os, "sysconf")
    assert memory_bytes() is None
    check_memory(override(LARGE, layers=(2**24, 2**24, 10)), "cpu")


def test_needed_bytes_counts_images_parameters_gradients_velocity_and_values():
    config = override(RECIPES["article-manual"].config, layers=(20, 30, 10), batch_size=5)
    parameters = 20 * 30 + 30 + 30 * 10 + 10
    assert needed_bytes(config, on_cpu=True) == 5 * 20 + 4 * (2 * parameters + 5 * 40)
    assert needed_bytes(override(config, momentum=0.5), on_cpu=True) == 5 * 20 + 4 * (3 * parameters + 5 * 40)
    assert needed_bytes(config, on_cpu=False) == 5 * 20 + 4 * parameters
    assert gradient_check_bytes(config) == 8 * (3 * parameters + 20 * 30 + 10 * 60)  # in float64


def test_network_larger_than_the_memory_is_rejected_with_both_figures(machine):
    machine(memory_gib=4)
    message = r"layers 784-1048576-10 with batches of 10 need 6\.3 GiB of memory or more, and this machine has 4\.0 GiB"
    for device in ("cpu", "auto"):
        with pytest.raises(BadUsage, match=message):
            check_memory(LARGE, device)
    machine(memory_gib=4, swap_gib=3)
    check_memory(LARGE, "cpu")


@pytest.mark.parametrize("device", ["cpu", "gpu", "auto"])
def test_batch_whose_images_exceed_the_memory_is_rejected_on_every_device(device, machine):
    machine(memory_gib=1000)  # the values of all layers for such a batch take less
    with pytest.raises(BadUsage, match=r"batches of 2,147,483,647 need 1,[5-9]\d\d\.\d GiB"):
        check_memory(LARGE_BATCH, device)


def test_only_parameters_and_images_count_if_training_is_on_a_gpu(machine, tmp_path):
    machine(memory_gib=4)
    check_memory(LARGE, "gpu")
    (tmp_path / "devices").mkdir()
    (tmp_path / "devices" / "nvidia0").touch()
    check_memory(LARGE, "auto")
    with pytest.raises(BadUsage, match=r"6\.3 GiB"):
        check_memory(LARGE, "cpu")


def test_gradient_check_larger_than_the_memory_is_rejected_with_both_figures(machine):
    machine(memory_gib=20)
    check_gradient_check_memory(LARGE_BATCH)
    message = r"a gradient check of layers 784-1048576-10 needs 24\.8 GiB of memory or more, .* has 20\.0 GiB"
    with pytest.raises(BadUsage, match=message):
        check_gradient_check_memory(LARGE)
