"""Training as a stage, by the real command."""

import shutil
import signal

import pytest

from tests.helpers import Digits, backbeam, contents, killed_at


@pytest.mark.slow
def test_the_window_decides_the_order_and_names_the_run(tmp_path):
    digits = Digits(num_train=1500, num_test=20, height=28, width=28).write(tmp_path / "digits")  # 1.1 MiB of pixels
    options = ["--workspace", tmp_path / "ws", "--num-steps", 20, "--json"]
    whole = backbeam("run", "--dataset", digits, "--num-shards", 3, *options)
    assert whole.code == 0, whole.err
    cut, again = (backbeam("train", *options, "--window-mib", mib) for mib in (1, 1024))
    assert again.json["run_id"] == whole.json["run_id"] != cut.json["run_id"]
    parameters = [tmp_path / "ws" / "runs" / found.json["run_id"] / "parameters.safetensors" for found in (whole, cut)]
    assert parameters[0].read_bytes() != parameters[1].read_bytes()  # not only of another name


@pytest.mark.parametrize(
    ("event", "pattern"),
    [("open", r"\.learning_curve\.parquet\."), ("os.rename", r"/\.temporary/.*/gradient_agreement$")],
)
def test_training_that_is_killed_is_done_again(event, pattern, seeds_run, tmp_path):
    """A run that is trained anew leaves every table first, and comes back to them whole; other runs' files stay."""
    workspace = shutil.copytree(seeds_run, tmp_path / "ws")
    [folder] = workspace.glob("runs/*seed2-*")
    before = contents(workspace)
    (folder / "run.json").unlink()
    command = ("train", "--workspace", workspace, "--num-steps", 20, "--seed", 2)
    assert killed_at(event, pattern, *command) == -signal.SIGKILL
    place = f"/run={folder.name}/"
    after = contents(workspace / "reports")
    ours = {name for name in after if place in f"/{name}"}
    assert ours == (set() if event == "open" else {f"learning_curve{place}learning_curve.parquet"})
    assert {name: data for name, data in after.items() if name not in ours} == {
        name.removeprefix("reports/"): data
        for name, data in before.items()
        if name.startswith("reports/") and place not in name
    }
    again = backbeam(*command, "--json")
    assert (again.code, again.json["skipped"]) == (0, [])
    assert {name.split("/")[0] for name in contents(workspace / "reports") if place in f"/{name}"} == {
        *("learning_curve", "gradient_agreement")
    }
    found = contents(workspace)
    parameters = f"runs/{folder.name}/parameters.safetensors"
    agreement = f"reports/gradient_agreement{place}gradient_agreement.parquet"
    assert [found[name] for name in (parameters, agreement)] == [before[name] for name in (parameters, agreement)]
