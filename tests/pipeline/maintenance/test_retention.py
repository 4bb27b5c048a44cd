"""What is kept and why, from made-up records."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.maintenance.retention import Holdings, StoredDataset, StoredRun, choose_kept, explain_kept, find_obstacles
from pipeline.maintenance.retention_config import Retention

NOW = "2026-11-28T00:00:00.000+00:00"


def day(number: int) -> str:
    return f"2026-11-{number:02}T00:00:00.000+00:00"


def holdings(runs=None, datasets=(), groups=None, required=None) -> Holdings:
    """Runs by number of the day on which they finished, each of the data set named, or of a."""
    found = {
        name: run if isinstance(run, StoredRun) else StoredRun("a", day(run)) for name, run in (runs or {}).items()
    }
    made = {"a": StoredDataset(day(1))} | dict(datasets)
    return Holdings(found, made, groups or {}, required or {})


def test_the_newest_runs_of_the_whole_workspace_are_kept_with_their_data_sets():
    runs = {"one": StoredRun("a", day(1)), "two": StoredRun("b", day(2)), "three": StoredRun("c", day(3))}
    datasets = {name: StoredDataset(day(1)) for name in "abc"}
    kept = choose_kept(holdings(runs, datasets), Retention(keep=2), NOW)
    assert kept == {
        "two": "of the newest 2 runs",
        "three": "of the newest 2 runs",
        "b": "data set of two",
        "c": "data set of three",
    }


def test_runs_of_the_last_days_are_kept_and_either_rule_is_enough():
    found = holdings({"old": 1, "middle": 20, "new": 27})
    assert set(choose_kept(found, Retention(keep_days=10), NOW)) == {"middle", "new", "a"}
    assert set(choose_kept(found, Retention(keep=1, keep_days=0), NOW)) == {"new", "a"}
    assert set(choose_kept(found, Retention(keep=3, keep_days=1), NOW)) == {"old", "middle", "new", "a"}


def test_what_the_registry_needs_is_kept_by_any_rule():
    found = holdings({"champion": 1, "other": 2}, required={"champion": "champion", "gone": "rollback target"})
    kept = choose_kept(found, Retention(keep=0), NOW)
    assert kept == {"champion": "champion", "a": "data set of champion", "gone": "rollback target"}


def test_data_sets_that_no_run_was_trained_on_are_counted_by_themselves():
    datasets = {"b": StoredDataset(day(2)), "c": StoredDataset(day(3)), "d": StoredDataset(day(4))}
    kept = choose_kept(holdings({"run": 5}, datasets), Retention(keep=2), NOW)
    assert set(kept) == {"run", "a", "c", "d"}
    assert set(choose_kept(holdings({}, datasets), Retention(keep_days=25), NOW)) == {"c", "d"}


def test_parts_of_a_kept_joint_data_set_are_kept():
    datasets = {"joint": StoredDataset(day(3), ("a", "b")), "b": StoredDataset(day(1))}
    found = holdings({"run": StoredRun("joint", day(4))}, datasets)
    assert set(choose_kept(found, Retention(keep=1), NOW)) == {"run", "joint", "a", "b"}
    assert choose_kept(found, Retention(keep=0), NOW) == {}
    assert found.names.index("joint") < found.names.index("a")


def test_a_group_of_seeds_is_kept_or_deleted_as_a_whole():
    found = holdings({"s1": 1, "s2": 2, "s3": 3, "other": 4}, groups={"g": ("s1", "s2"), "h": ("s2", "s3")})
    assert set(choose_kept(found, Retention(keep=2), NOW)) == {"s1", "s2", "s3", "other", "g", "h", "a"}
    assert set(choose_kept(found, Retention(keep=1), NOW)) == {"other", "a"}


def test_only_the_run_that_a_kept_run_began_with_is_kept_and_not_the_chain():
    runs = {"first": StoredRun("a", day(1)), "second": StoredRun("a", day(2), "first")}
    runs |= {"third": StoredRun("a", day(3), "second")}
    kept = choose_kept(holdings(runs), Retention(keep=1), NOW)
    assert set(kept) == {"second", "third", "a"}
    assert kept["second"] == "third began with its parameters"


def test_what_others_need_is_not_deleted_by_name():
    runs = {"s1": 1, "s2": 2, "start": 3, "warm": StoredRun("b", day(4), "start"), "best": 5}
    found = holdings(runs, {"b": StoredDataset(day(1))}, {"g": ("s1", "s2")}, {"best": "champion"})
    for names in (["s1"], ["start"], ["best"], ["a"], ["b"]):
        assert set(find_obstacles(found, names)) == {*names}
    assert find_obstacles(found, ["s1", "s2", "g"]) == {}
    assert find_obstacles(found, ["start", "warm", "b"]) == {}


@given(st.data())
def test_a_kept_workspace_lacks_nothing_that_it_needs(data):
    names = [f"run{number}" for number in range(6)]
    some = st.sampled_from(names)
    runs = {
        name: StoredRun(data.draw(st.sampled_from(["a", "b", "joint"])), day(number + 1), data.draw(some | st.none()))
        for number, name in enumerate(names)
    }
    datasets = {"b": StoredDataset(day(1)), "joint": StoredDataset(day(1), ("a", "b"))}
    groups = {name: tuple(data.draw(st.lists(some, min_size=1, max_size=3, unique=True))) for name in ("g", "h")}
    found = holdings(runs, datasets, groups, {data.draw(some): "champion"})
    kept = choose_kept(found, Retention(keep=data.draw(st.integers(0, 6))), NOW)
    assert {*found.required} <= {*kept}
    assert all(runs[name].dataset in kept for name in names if name in kept)
    assert all({*members} <= {*kept} or not {*members} & {*kept} for members in groups.values())
    assert all({*datasets["joint"].parts} <= {*kept} for name in kept if name == "joint")
    assert explain_kept(found, kept).keys() >= {*kept}
