"""RUN on the command line: an id, its beginning, a name, `latest` or `best`."""

import shutil

import pytest

from model.errors import BadUsage
from pipeline.evaluate.evaluation_record import EVALUATION_NAME, load_evaluation
from pipeline.registry.history import resolve_run
from pipeline.storage.workspace import explain_match
from pipeline.train.run_lookup import changed_settings, describe_candidates, find_run_folder
from pipeline.train.run_names import rename_run
from pipeline.train.run_record import RUN_NAME, load_run


@pytest.fixture
def workspace(seeds_run, tmp_path):
    return shutil.copytree(seeds_run, tmp_path / "ws")


def runs_of(workspace):
    """The records of all runs, by seed."""
    runs = [load_run(folder) for folder in workspace.glob("runs/*")]
    return {run.config.seed: run for run in runs}


def rewrite(workspace, run, **changes):
    changed = run.model_copy(update=changes)
    (workspace / "runs" / run.run_id / RUN_NAME).write_bytes(changed.to_json())


def test_run_is_found_by_name(workspace):
    run = rename_run(workspace, runs_of(workspace)[2], "wide")
    assert find_run_folder(workspace, "wide").name == run.run_id
    assert find_run_folder(workspace, "article-manual-seed3") == workspace / "runs" / runs_of(workspace)[3].run_id
    with pytest.raises(BadUsage, match=f"'wid' matches no run(.|\n)*{run.run_id}  name=wide"):
        find_run_folder(workspace, "wid")


def test_candidates_are_listed_with_the_settings_in_which_they_differ(workspace):
    runs = runs_of(workspace)
    rename_run(workspace, runs[2], "wide")
    with pytest.raises(BadUsage) as raised:
        find_run_folder(workspace, "article")
    assert str(raised.value).splitlines() == [
        f"'article' matches several runs in {workspace / 'runs'}; name one of:",
        *sorted(
            [f"  {runs[1].run_id}  seed=1", f"  {runs[2].run_id}  name=wide seed=2", f"  {runs[3].run_id}  seed=3"]
        ),
    ]


def test_candidates_of_several_recipes_are_listed_with_what_differs_from_their_recipes(workspace):
    runs = runs_of(workspace)
    rewrite(workspace, runs[2], config=runs[2].config.model_copy(update={"recipe": "modern", "num_steps": 30}))
    lines = describe_candidates(workspace, [runs[1].run_id, runs[2].run_id])
    assert lines[0] == f"{runs[1].run_id}  num_steps=20"
    assert "num_steps=30" in lines[1]
    assert not {"recipe", "seed", "dataset"} & {word.partition("=")[0] for word in lines[1].split()}


def test_candidates_of_equal_settings_differ_in_their_time(workspace):
    runs = runs_of(workspace)
    later = "2099-01-01T00:00:00.000+00:00"  # runs that are trained side by side may finish in the same millisecond
    rewrite(workspace, runs[2], config=runs[1].config, finished=later)
    first, second = describe_candidates(workspace, [runs[1].run_id, runs[2].run_id])
    assert first == f"{runs[1].run_id}  finished={runs[1].finished}"
    assert second.endswith(later)


def test_long_list_of_candidates_is_cut(tmp_path):
    message = explain_match(tmp_path, "x", "run", True, [f"x{number}" for number in range(23)])
    assert message.splitlines()[-2:] == ["  x19", "  and 3 more"]


def test_latest_run_finished_last(workspace):
    runs = runs_of(workspace)
    rewrite(workspace, runs[2], finished="2999-01-01T00:00:00.000+00:00")
    assert resolve_run(workspace, "latest") == runs[2].run_id


def test_best_run_has_the_highest_test_accuracy(workspace):
    runs = runs_of(workspace)
    results = {seed: load_evaluation(workspace, run).test_result() for seed, run in runs.items()}
    expected = max(runs, key=lambda seed: (results[seed].accuracy, -results[seed].loss, runs[seed].finished))
    assert resolve_run(workspace, "best") == runs[expected].run_id
    (workspace / "runs" / runs[expected].run_id / EVALUATION_NAME).unlink()
    assert resolve_run(workspace, "best") not in ("best", runs[expected].run_id)


def test_best_of_several_data_sets_is_ambiguous(everything):
    with pytest.raises(BadUsage, match="a run of each of several data sets") as raised:
        resolve_run(everything / "ws", "best")
    assert len(str(raised.value).splitlines()) == 3


def test_words_need_a_run(tmp_path):
    (tmp_path / "runs").mkdir()
    for word in ("latest", "best", "champion"):
        with pytest.raises(BadUsage):
            resolve_run(tmp_path, word)
    assert resolve_run(tmp_path, "other") == "other"


def test_settings_differ_also_if_the_data_set_is_gone(workspace):
    run = runs_of(workspace)[2]
    assert changed_settings(workspace, run) == {"num_steps": 20, "seed": 2}
    shutil.rmtree(workspace / "datasets")
    assert changed_settings(workspace, run)["seed"] == 2
