import pytest

from model.errors import BadUsage
from model.recipes import RECIPES, override
from pipeline.train import memory_check as memory
from pipeline.train.memory_check import check_memory, memory_bytes, needed_bytes

GIB = 2**30
LARGE = override(RECIPES["article-manual"].config, layers=(784, 2**20, 10))


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Describe a machine as Linux does: its memory and swap, and the limits of groups."""

    def describe(memory_gib=4, swap_gib=0, groups="0::/a/b", limits=()):
        information = f"MemTotal: {memory_gib * 2**20} kB\nHugePages_Total: 0\nSwapTotal: {swap_gib * 2**20} kB\n"
        (tmp_path / "meminfo").write_text(information)
        (tmp_path / "cgroup").write_text(f"{groups}\n")
        for name, limit in dict(limits).items():
            file = tmp_path / "groups" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{limit}\n")

    monkeypatch.setattr(memory, "_MEMORY_INFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_GROUPS_OF_PROCESS", tmp_path / "cgroup")
    monkeypatch.setattr(memory, "_GROUPS", tmp_path / "groups")
    monkeypatch.setattr(memory, "_GPUS", tmp_path / "devices")
    return describe


def test_memory_and_swap_of_a_machine_without_limits(machine):
    machine(memory_gib=4, swap_gib=2, limits={"a/b/memory.max": "max"})
    assert memory_bytes() == 6 * GIB


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
def test_the_limit_of_a_container_counts(groups, limits, machine):
    machine(memory_gib=4, groups=groups, limits=limits)
    assert memory_bytes() == GIB


def test_a_system_that_does_not_say_what_it_has_refuses_nothing(machine):
    assert memory_bytes() is None
    check_memory(override(LARGE, layers=(2**24, 2**24, 10)), "cpu")


def test_what_training_needs_at_the_least():
    config = override(RECIPES["article-manual"].config, layers=(20, 30, 10), batch_size=5)
    parameters = 20 * 30 + 30 + 30 * 10 + 10
    assert needed_bytes(config, on_cpu=True) == 4 * (2 * parameters + 5 * 40)
    assert needed_bytes(override(config, momentum=0.5), on_cpu=True) == 4 * (3 * parameters + 5 * 40)
    assert needed_bytes(config, on_cpu=False) == 4 * parameters


def test_a_network_larger_than_the_memory_is_refused_with_both_figures(machine):
    machine(memory_gib=4)
    found = r"layers 784-1048576-10 with batches of 10 need 6\.3 GiB of memory or more, and this machine has 4\.0 GiB"
    for device in ("cpu", "auto"):
        with pytest.raises(BadUsage, match=found):
            check_memory(LARGE, device)
    machine(memory_gib=4, swap_gib=3)
    check_memory(LARGE, "cpu")


def test_on_a_gpu_this_machine_holds_the_parameters_only(machine, tmp_path):
    machine(memory_gib=4)
    check_memory(LARGE, "gpu")
    (tmp_path / "devices").mkdir()
    (tmp_path / "devices" / "nvidia0").touch()
    check_memory(LARGE, "auto")
    with pytest.raises(BadUsage, match=r"6\.3 GiB"):
        check_memory(LARGE, "cpu")


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES.keys())
def test_the_recipes_fit_a_small_machine(recipe, machine):
    machine(memory_gib=1)
    check_memory(recipe.config, "cpu")
