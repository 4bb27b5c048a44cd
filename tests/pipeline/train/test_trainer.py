"""`backbeam train` after a crash."""

import shutil
import signal

import pytest

from tests.helpers import backbeam, contents, killed_at


@pytest.mark.parametrize(
    ("event", "pattern"),
    [("open", r"\.learning_curve\.parquet\."), ("os.rename", r"/\.temporary/.*/gradient_agreement$")],
)
@pytest.mark.thorough
def test_killed_training_is_repeated_and_gives_the_same_files(event, pattern, seeds_run, tmp_path):
    """Retraining removes the tables of the run first; the files of other runs are left alone."""
    workspace = shutil.copytree(seeds_run, tmp_path / "ws")
    [folder] = workspace.glob("runs/*seed2-*")
    before = contents(workspace)
    (folder / "run.json").unlink()
    command = ("train", "--workspace", workspace, "--num-steps", 20, "--seed", 2)
    assert killed_at(event, pattern, *command) == -signal.SIGKILL
    partition = f"/run={folder.name}/"
    after = contents(workspace / "reports")
    of_run = {name for name in after if partition in f"/{name}"}
    assert of_run == (set() if event == "open" else {f"learning_curve{partition}learning_curve.parquet"})
    assert {name: data for name, data in after.items() if name not in of_run} == {
        name.removeprefix("reports/"): data
        for name, data in before.items()
        if name.startswith("reports/") and partition not in name
    }
    again = backbeam(*command, "--json")
    assert (again.code, again.json["skipped"]) == (0, [])
    assert {name.split("/")[0] for name in contents(workspace / "reports") if partition in f"/{name}"} == {
        *("learning_curve", "gradient_agreement")
    }
    files = contents(workspace)
    parameters = f"runs/{folder.name}/parameters.safetensors"
    agreement = f"reports/gradient_agreement{partition}gradient_agreement.parquet"
    assert [files[name] for name in (parameters, agreement)] == [before[name] for name in (parameters, agreement)]
