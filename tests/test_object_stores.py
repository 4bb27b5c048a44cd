"""Workspaces and sources in object stores, tested by commands against emulators on loopback."""

import io
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.emulators import BUCKET, SECRET, amazon, wire
from tests.helpers import BACKBEAM, Digits, backbeam, contents, free_addresses, without_time_made

pytestmark = pytest.mark.thorough

STEPS = ("--num-steps", "20", "--num-shards", "3")
STAGES = ["preprocess", "validate", "train", "evaluate"]
SHARD = b"tfrecord"  # Google's names of objects are sent with every other character escaped


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return Digits(num_train=600, num_test=200).write(tmp_path_factory.mktemp("source") / "digits")


@pytest.fixture(scope="module")
def expected(tmp_path_factory, digits):
    workspace = tmp_path_factory.mktemp("expected") / "ws"
    done = backbeam("run", "--dataset", digits, *STEPS, "--workspace", workspace)
    assert done.code == 0, done.err
    return contents(workspace)


def without_times(files):
    comparable = {}
    for name, data in files.items():
        if name.endswith("learning_curve.parquet"):
            comparable[name] = repr(pq.read_table(io.BytesIO(data)).drop_columns("seconds").to_pylist())  # NaN != NaN
        elif name.endswith("run.json"):
            record = json.loads(data)
            comparable[name] = {
                key: record[key] for key in record if key not in ("seconds", "finished", "tables", "record_sha256")
            }
        elif name != ".lock":
            comparable[name] = data
    return without_time_made(comparable)


def datasets(files):
    return {name: data for name, data in files.items() if name.startswith("datasets/") and "validation" not in name}


def test_a_run_in_a_store_writes_the_same_files_as_on_a_disk(store, run_in_store, digits, expected, tmp_path):
    done = run_in_store("run", "--dataset", digits, *STEPS, "--json")
    assert done.code == 0, done.err
    assert without_times(store.visible(tmp_path.name)) == without_times(expected)
    assert done.json["paths"]["dataset"].startswith(store.uri(tmp_path.name) + "/datasets/")
    again = run_in_store("run", "--dataset", digits, *STEPS, "--json")
    assert (again.code, again.json["skipped"]) == (0, STAGES)
    assert without_times(store.visible(tmp_path.name)) == without_times(expected)
    local = contents(tmp_path / "cache")
    shards = {name.rpartition("/")[2]: data for name, data in local.items() if name.endswith(".tfrecord")}
    assert shards == {name.rpartition("/")[2]: data for name, data in expected.items() if name.endswith(".tfrecord")}
    assert not [name for name in local if not name.endswith((".tfrecord", ".lock", ".lock-in-store.json"))]
    everywhere = [*store.visible(tmp_path.name).values(), *local.values(), done.out.encode(), done.err.encode()]
    assert not [data for data in everywhere if SECRET.encode() in data]


@pytest.mark.slow
def test_all_other_commands_work_in_a_store(store, run_in_store, digits, tmp_path):
    assert run_in_store("preprocess", "--dataset", digits, "--workers", 2, *STEPS[2:]).code == 0
    assert run_in_store("validate").code == 0
    trained = run_in_store("train", "--num-steps", 20, "--seeds", "1-2", "--json")
    assert trained.code == 0, trained.err
    run = trained.json["runs"][1]["run_id"]
    assert run_in_store("evaluate", run, "--workers", 2, "--json").json["test"]["num_examples"] == 200
    assert run_in_store("predict", digits / "t10k-images-idx3-ubyte", "--run", run).out.count("\n") == 200
    assert run_in_store("export", run, "--to", tmp_path / "exported").code == 0
    assert "saved_model/saved_model.pb" in contents(tmp_path / "exported")
    shown = run_in_store("inspect", "--json")
    assert shown.json["sheet"].startswith(store.uri(tmp_path.name) + "/inspect/")
    assert [data[:4] for name, data in store.visible(tmp_path.name).items() if name.endswith(".png")] == [b"\x89PNG"]


@pytest.mark.parametrize("compress", [pytest.param(False, marks=pytest.mark.slow), True])
def test_idx_sources_in_a_store_give_the_same_data_set(compress, store, run_in_store, expected, tmp_path):
    folder = f"{tmp_path.name}-source/digits"
    for path in Digits(num_train=600, num_test=200).write(tmp_path / "digits", compress).iterdir():
        store.put(f"{folder}/{path.name}", path.read_bytes())
    engine = ("--", "--runner=BundleBasedDirectRunner") if compress else ()
    done = run_in_store("preprocess", "--dataset", store.uri(folder), *STEPS[2:], *engine)
    assert done.code == 0, done.err
    assert datasets(store.visible(tmp_path.name)) == datasets(expected)


@pytest.mark.slow
def test_damaged_and_missing_shards_are_reported(store, run_in_store, digits, tmp_path):
    assert run_in_store("preprocess", "--dataset", digits, *STEPS[2:]).code == 0
    assert run_in_store("train", "--num-steps", 20).code == 0
    [shard, *_] = sorted(name for name in store.names(tmp_path.name) if name.endswith(".tfrecord"))
    data = store.get(shard)
    for copy in (tmp_path / "cache").rglob("*.tfrecord"):  # corrupt copies are downloaded again
        copy.write_bytes(data)
    again = run_in_store("train", "--num-steps", 20, "--seed", 2, "--json")
    assert again.code == 0, again.err
    store.put(shard, data[:-1] + bytes([data[-1] ^ 1]))
    corrupt = run_in_store("train", "--num-steps", 20, "--seed", 3)
    assert (corrupt.code, "Traceback" in corrupt.err) == (4, False)
    assert f"{store.scheme}://{BUCKET}/{shard} is corrupt" in corrupt.err
    store.delete(shard)
    missing = run_in_store("train", "--num-steps", 20, "--seed", 3)
    assert missing.code == 4
    assert f"{shard} is missing" in missing.err


def popen(store, tmp_path, *arguments, environment):
    command = [BACKBEAM, *arguments, "--workspace", store.uri(tmp_path.name)]
    changed = environment | {"BACKBEAM_CACHE_DIR": str(tmp_path / "cache")}
    return subprocess.Popen(list(map(str, command)), env=os.environ | changed, stderr=subprocess.PIPE)


@pytest.mark.parametrize("how", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_process_that_ends_during_an_upload_commits_nothing(how, store, run_in_store, digits, expected, tmp_path):
    with wire(store, SHARD, 1, "silent") as broken:
        environment = store.reached_by(broken.address)
        arguments = ("preprocess", "--dataset", digits, *STEPS[2:])
        with popen(store, tmp_path, *arguments, environment=environment) as process:
            assert broken.broken.wait(60)
            process.send_signal(how)
            _, stderr = process.communicate(timeout=60)
    assert process.returncode == {signal.SIGKILL: -9, signal.SIGTERM: 143}[how], stderr
    remaining = datasets(store.visible(tmp_path.name))
    assert not [name for name in remaining if "manifest" in name]
    assert how == signal.SIGKILL or remaining == {}
    again = run_in_store("preprocess", "--dataset", digits, *STEPS[2:])
    assert again.code == 0, again.err
    assert datasets(store.visible(tmp_path.name)) == datasets(expected)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_manifest_that_arrives_late_is_removed_with_its_shards(workers, store, run_in_store, digits, tmp_path):
    with wire(store, b"class_names", 0, "late") as broken:  # in the manifest
        arguments = ("preprocess", "--dataset", digits, "--workers", workers, *STEPS[2:])
        with popen(store, tmp_path, *arguments, environment=store.reached_by(broken.address)) as process:
            assert broken.broken.wait(60)
            process.terminate()
            printed = next(line for line in process.stderr if b"terminated" in line)
            time.sleep(1)  # for a cleanup that would not wait
            broken.resumed.set()
            _, stderr = process.communicate(timeout=60)
    assert process.returncode == 143, printed + stderr
    assert datasets(store.visible(tmp_path.name)) == {}


@pytest.mark.slow
def test_a_terminated_process_ends_although_its_store_answers_nothing(digits, tmp_path):
    with amazon(tmp_path) as store, wire(store, SHARD, 1, "frozen") as broken:
        arguments = ("preprocess", "--dataset", digits, *STEPS[2:])
        with popen(store, tmp_path, *arguments, environment=store.reached_by(broken.address)) as process:
            assert broken.broken.wait(60)
            process.terminate()
            _, stderr = process.communicate(timeout=120)  # with all the timeouts and retries of requests it takes 380 s
    assert process.returncode == 143, stderr


@pytest.mark.slow
def test_interrupted_training_resumes_from_a_checkpoint_in_the_store(store, run_in_store, digits, tmp_path):
    options = ("train", "--num-steps", "60000", "--checkpoint-every", "5000")
    assert run_in_store("preprocess", "--dataset", digits, *STEPS[2:]).code == 0
    with popen(store, tmp_path, *options, environment=store.environment) as process:
        for line in process.stderr:
            if b"step  17000:" in line:
                process.terminate()
        assert process.wait(60) == 143
    checkpoints = sorted(name for name in store.names(tmp_path.name) if "/checkpoints/" in name)
    assert len(checkpoints) == 2
    newest = store.get(checkpoints[1])
    store.put(checkpoints[1], newest[:-1] + bytes([newest[-1] ^ 1]))
    done = run_in_store(*options)
    assert done.code == 0, done.err
    assert f"{store.scheme}://{BUCKET}/{checkpoints[1]} is corrupt" in done.err
    step = int(Path(checkpoints[0]).name.split("-")[1])
    assert f"continuing from the checkpoint of step {step}\n" in done.err
    assert not [name for name in store.names(tmp_path.name) if "/checkpoints/" in name]
    assert backbeam("preprocess", "--workspace", tmp_path / "ws", "--dataset", digits, *STEPS[2:]).code == 0
    assert backbeam(*options, "--workspace", tmp_path / "ws").code == 0
    in_store, on_disk = (
        [files[name] for name in sorted(files) if name.endswith(".safetensors")]
        for files in (store.visible(tmp_path.name), contents(tmp_path / "ws"))
    )
    assert in_store == on_disk
    assert len(in_store) == 2  # the parameters, and those of early steps


@pytest.mark.slow
def test_an_upload_to_a_store_that_is_gone_fails_cleanly(store, run_in_store, digits, expected, tmp_path):
    with wire(store, SHARD, 1, "dead") as broken:
        done = run_in_store("preprocess", "--dataset", digits, *STEPS[2:], environment=store.reached_by(broken.address))
        assert broken.broken.is_set()
    assert (done.code, "Traceback" in done.err) == (5, False), done.err
    assert store.uri(tmp_path.name) in done.err
    assert SECRET not in done.err + str(contents(tmp_path / "cache"))
    assert not [name for name in store.visible(tmp_path.name) if "manifest" in name]
    done = run_in_store("preprocess", "--dataset", digits, *STEPS[2:])
    assert done.code == 0, done.err
    assert datasets(store.visible(tmp_path.name)) == datasets(expected)


@pytest.mark.slow
def test_an_unusable_store_is_reported_in_one_line(store, digits, tmp_path):
    unused, no_metadata = free_addresses(2)  # the second replaces the metadata server that gives credentials
    no_credentials = {
        "AWS_EC2_METADATA_DISABLED": "true",
        "GCE_METADATA_HOST": no_metadata,
        "GCE_METADATA_IP": no_metadata,
    }
    cases = {
        "there is no bucket": (f"{store.scheme}://no-such-bucket/ws", store.environment),
        unused: (store.uri("ws"), store.reached_by(unused)),
        "no credentials": (store.uri("ws"), no_credentials),
    }
    for message, (workspace, environment) in cases.items():
        changed = environment | {"BACKBEAM_CACHE_DIR": str(tmp_path / "cache"), "HOME": str(tmp_path)}
        done = backbeam("preprocess", "--dataset", digits, "--workspace", workspace, environment=changed)
        assert done.code == 5, done.err
        assert message in done.err
        assert workspace in done.err
        assert len(done.err.splitlines()) == 1
        assert SECRET not in done.err
    assert not list((tmp_path / "cache").rglob("engine.log"))


def test_refused_credentials_are_reported(digits, tmp_path):
    with amazon(tmp_path, INITIAL_NO_AUTH_ACTION_COUNT="1") as store:
        changed = store.environment | {"BACKBEAM_CACHE_DIR": str(tmp_path / "cache")}
        done = backbeam("preprocess", "--dataset", digits, "--workspace", store.uri("ws"), environment=changed)
    assert done.code == 5, done.err
    assert "refuses these credentials" in done.err
    assert store.uri("ws") in done.err
    assert SECRET not in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tensorboard"], "--tensorboard needs a workspace on this machine"),
        (
            ["--", f"--s3_secret_access_key={SECRET}"],
            "--s3_secret_access_key: access to s3:// is configured by the environment",
        ),
        (["--cache-dir", "s3://bucket/cache"], "is a URI, expected a path of this machine"),
    ],
)
def test_options_that_a_store_does_not_support_are_usage_errors(arguments, message, tmp_path):
    done = backbeam("run", "--workspace", "s3://bucket/ws", *arguments)
    assert done.code == 2
    assert message in done.err
    assert SECRET not in done.err
