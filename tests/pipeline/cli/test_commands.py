"""The real command: its output, its exit codes, and the files it leaves."""

import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.helpers import BACKBEAM, Digits, backbeam, contents, images_bytes, labels_bytes, run_in_process, write_files

SOUND = Digits().files()
IMAGES, LABELS, TEST_IMAGES, TEST_LABELS = SOUND


def test_help_imports_neither_tensorflow_nor_beam():
    code = (
        "import sys, pipeline.cli.main\n"
        "try: pipeline.cli.main.app(['run', '--help'])\n"
        "except SystemExit: pass\n"
        "print([name for name in ('tensorflow', 'apache_beam', 'pyarrow', 'scipy', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_trained_models_are_used_without_tensorflow():
    """It takes seconds to import, in every worker, and 700 MiB."""
    modules = (
        "pipeline.evaluate.beam_job, pipeline.evaluate.predict, pipeline.report.run_page, pipeline.registry.retrain"
    )
    code = f"import sys, {modules}; print('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_workspace_of_the_environment_is_used_and_may_hold_no_secret(tmp_path):
    environment = {"BACKBEAM_WORKSPACE": str(tmp_path / "elsewhere"), "TERMINAL_WIDTH": "400"}
    assert str(tmp_path / "elsewhere") in run_in_process("runs", environment=environment).err
    done = run_in_process("runs", environment={"BACKBEAM_WORKSPACE": "s3://key:secret@bucket/name"})
    assert (done.code, "secret@" in done.err) == (2, False)


def test_short_help_groups_commands_and_options():
    done = run_in_process("-h")
    headings = ["Job", "Results and models", "Champion", "Maintenance"]
    places = [done.out.index(f"─ {heading} ─") for heading in headings]
    assert places == sorted(places)
    assert "─ Training ─" in run_in_process("train", "-h").out


def test_shell_completes_values_of_settings():
    words = {"COMP_WORDS": "backbeam run --activation r", "COMP_CWORD": "3"}
    assert backbeam(environment=words | {"_BACKBEAM_COMPLETE": "complete_bash"}).out.split() == ["relu"]


@pytest.mark.thorough
def test_gradcheck_agrees_for_small_network():
    result = run_in_process("gradcheck", "--layers", "12,5,3", "--recipe", "nielsen-100", "--json")
    assert (result.code, result.json["agrees"], result.json["layers"]) == (0, True, [12, 5, 3])
    assert [p["parameter"] for p in result.json["parameters"]] == ["weights", "biases"] * 2
    assert run_in_process("gradcheck", "--layers", "12,5,3").out.count("agrees") == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--seed", "-1"], "--seed"),
        (["train"], "no workspace"),
        (["predict", "x.png"], "no workspace"),
        (["preprocess", "--", "--runer=FlinkRunner"], "--runer"),
        (["predict", "a.png", "--", "b.png"], "predict runs no Beam pipeline"),
        (["train", "--", "--runner=FlinkRunner"], "train runs no Beam pipeline"),
        (["run", "--seeds", "1-2", "--seed", "0"], "give --seed or --seeds, not both"),
        (["run", "--seeds", "1-2", "--replicas", "2"], "one replica each"),
        (["run", "--layers", "784,30,9"], "layers 784-30-9 do not fit the data set: it has 784 pixels and 10 classes"),
        (["preprocess", "--shuffle-seed", 2**63], "--shuffle-seed"),
        (["preprocess", "--num-classes", 5], "mnist-5k has its own classes"),
        (["preprocess", "--cache-dir", "gs://bucket/cache"], "is a URI"),
        (["preprocess", "--", "stray"], "options for Beam begin with --; found 'stray'"),
        (["preprocess", "--", "--runner=NoSuchRunner"], "NoSuchRunner"),
        (["preprocess", "--dataset", "digits", "--image-size=5x4"], "do not state their size"),
        (["preprocess", "--dataset", "digits", "--image-column=image"], "files of tables"),
        (["gradcheck", "--", "--nonsense"], "nothing may follow --"),
        (["nonsense"], "nonsense"),
    ],
)
def test_usage_errors(arguments, message, digits_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    option = [] if arguments[0] in ("nonsense", "gradcheck") else ["--workspace", "ws"]
    done = run_in_process(*arguments[:1], *option, *arguments[1:])
    assert (done.code, done.out) == (2, ""), done.err
    assert message in " ".join(done.err.split())
    assert {name.split("/")[0] for name in contents(tmp_path)} <= {"digits", "ws"}
    assert arguments[0] != "preprocess" or not list(tmp_path.glob("ws/datasets/*"))


BAD_INPUT = {
    "truncated": ({IMAGES: SOUND[IMAGES][:-1]}, "promises 1216 bytes, found 1215"),
    "counts differ": ({LABELS: labels_bytes(np.arange(59) % 3)}, "59 labels, expected 60, one for each image of"),
    "no such file": ({TEST_LABELS: None}, "missing t10k-labels-idx1-ubyte"),
    "a gap in the labels": ({LABELS: labels_bytes(np.arange(60) % 2 * 7)}, "none is 1, 2, 3, 4, 5, 6; say how many"),
    "test label unknown to train": ({TEST_LABELS: labels_bytes(np.full(20, 9))}, "more than 0 examples are rejected"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_rejected(case, tmp_path):
    changes, message = BAD_INPUT[case]
    files = {name: data for name, data in (SOUND | changes).items() if data is not None}
    folder = write_files(tmp_path / "digits", files)
    before = contents(folder)
    done = run_in_process("run", "--workspace", tmp_path / "ws", "--dataset", folder, "--json")
    assert (done.code, done.json["error"]["message"] in done.err) == (3, True), done.err
    assert message in done.err
    assert str(folder) in done.err or "(split test)" in done.err
    assert done.err.count("backbeam: ") == 1
    assert contents(folder) == before
    assert [name for name in contents(tmp_path / "ws") if not name.startswith(".lock")] == []


def test_rejected_examples_are_limited_also_of_an_existing_data_set(tmp_path):
    labels = labels_bytes(np.array([9, *[0, 1, 2] * 6, 0]))
    folder = write_files(tmp_path / "digits", SOUND | {TEST_LABELS: labels})
    arguments = ("preprocess", "--dataset", folder, "--workspace", tmp_path / "ws", "--json")
    assert run_in_process(*arguments, "--max-rejected", 1).json["num_rejected"] == 1
    done = run_in_process(*arguments)
    assert (done.code, "leaves out 1 examples, more than 0" in done.err) == (3, True)
    write_files(folder, {TEST_LABELS: labels_bytes(np.full(20, 9))})
    done = run_in_process(*arguments, "--max-rejected", 100)
    assert done.code == 3
    assert "every example of the test split is rejected, the first because: label 9 is not below 3" in done.err
    assert len([*tmp_path.glob("ws/datasets/*")]) == 1


def test_unusable_workspace_path_is_storage_failure(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    done = run_in_process("preprocess", "--workspace", tmp_path / "file" / "ws")
    assert (done.code, "Not a directory" in done.err) == (5, True)


def test_relative_paths_with_spaces_and_non_ascii_letters_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Digits().write(tmp_path / "meine Ziffern é")
    options = ("--json", "--", "--direct_running_mode=multi_processing", "--direct_num_workers=2")
    done = backbeam("preprocess", "--workspace", "mein Platz", "--dataset", "meine Ziffern é", *options)
    assert done.code == 0, done.err
    assert done.json["dataset_id"].startswith("meine-Ziffern-")
    assert (tmp_path / "mein Platz" / "datasets" / done.json["dataset_id"] / "manifest.json").exists()
    assert run_in_process("preprocess", "--dataset", "meine Ziffern é").code == 0
    assert list(tmp_path.glob("backbeam-workspace/datasets/meine-*/manifest.json"))  # the default workspace


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_beam_job_leaves_no_data_set(number, code, tmp_path):
    folder = Digits(num_train=40_000, num_test=10, height=28, width=28).write(tmp_path / "digits")
    workspace = tmp_path / "ws"
    with subprocess.Popen(
        [BACKBEAM, "preprocess", "--workspace", workspace, "--dataset", folder], stderr=subprocess.PIPE, text=True
    ) as running:
        while running.poll() is None and not list(workspace.glob("datasets/*/train-*")):
            time.sleep(0.005)
        running.send_signal(number)
        rest = running.stderr.read()
        assert running.wait(60) == code, rest
    assert "Traceback" not in rest
    assert not list(workspace.glob("datasets/*"))


def test_next_steps_repeat_command_with_one_option_changed(tmp_path, digits_folder):
    arguments = ("--workspace", tmp_path / "w s", "--dataset", digits_folder, "--seed=4", "--num-steps", 20)
    out = run_in_process("run", *arguments).out
    same = f"run --workspace '{tmp_path / 'w s'}' --dataset {digits_folder} --num-steps 20"
    assert f"{same} --seed 4 --step compare" in out
    assert f"{same} --step manual --seeds 4-8" in out


def test_small_gzip_of_many_labels_is_rejected_fast(tmp_path):
    folder = write_files(tmp_path / "digits", SOUND | {IMAGES: images_bytes(np.zeros((1, 2049, 2048)))})
    (folder / LABELS).unlink()
    write_files(folder, {LABELS: labels_bytes(np.zeros(5_000_000))}, compress=True)
    began = time.process_time()
    done = run_in_process("preprocess", "--workspace", tmp_path / "ws", "--dataset", folder)
    assert time.process_time() - began < 10
    assert (done.code, "5000000 labels, expected 1" in done.err) == (3, True)


@pytest.mark.parametrize("command", [("show", "champion"), ("report", "champion", "--to"), ("compare", "champion")])
def test_champion_is_a_name_of_a_run(command, everything, tmp_path):
    workspace = ("--workspace", everything / "ws")
    champion = run_in_process("champion", *workspace, "--json").json["run_id"]
    target = {"report": [tmp_path / "page.html"], "compare": ["article-manual-seed2"]}.get(command[0], [])
    by_name, by_id = (
        run_in_process(command[0], run, *command[2:], *target, *workspace) for run in ("champion", champion)
    )
    assert by_name.code == by_id.code == 0, by_name.err
    assert by_name.out == by_id.out
