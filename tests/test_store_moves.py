"""A workspace is moved from a disk to a bucket and back, and is the same in both places."""

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.emulators import BUCKET, Emulated, amazon
from tests.helpers import contents, run_in_process
from tests.page_scripts import find_script, run_script

pytestmark = pytest.mark.thorough

find = partial(find_script, "operations.md", "Moving a workspace")
WORKSPACE = "backbeam-workspace"


@pytest.fixture
def workspace(everything, tmp_path) -> Path:
    return shutil.copytree(everything / "ws", tmp_path / WORKSPACE)


def kept(workspace: Path) -> dict[str, bytes]:
    return {name: data for name, data in contents(workspace).items() if not name.startswith(".")}


def answers(place: object, images: Path, **more: Any) -> list[Any]:
    """Return what `champion` and `predict` say of a workspace, after `verify` has found it sound."""
    where = ("--workspace", place, "--json")
    verified = run_in_process("verify", *where, **more)
    assert (verified.code, verified.json["sound"], verified.json["leftovers"]) == (0, True, []), verified.err
    champion = run_in_process("champion", *where, **more).json
    predicted = run_in_process("predict", images, "--run", "champion", *where, **more)
    assert predicted.code == 0, predicted.err
    return [champion["run_id"], champion["version"], predicted.json["predictions"]]


def test_a_workspace_is_moved_to_a_bucket_and_back(workspace, everything, store, run_in_store, tmp_path):
    images = everything / "digits" / "t10k-images-idx3-ubyte"
    on_the_disk = answers(workspace, images)
    for name, data in kept(workspace).items():
        store.put(f"{tmp_path.name}/{name}", data)
    environment = store.environment | {"BACKBEAM_CACHE_DIR": str(tmp_path / "cache")}
    assert answers(store.uri(tmp_path.name), images, environment=environment) == on_the_disk
    retrained = run_in_store("retrain", "--dataset", everything / "others", "--num-steps", 20, "--seed", 4, "--json")
    assert retrained.code == 0, retrained.err
    moved = tmp_path / "moved"
    for name, data in store.visible(tmp_path.name).items():
        path = moved / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    assert {*kept(workspace)} < {*kept(moved)}
    assert len(answers(moved, images)[2]) == len(on_the_disk[2])
    again = run_in_process(
        "retrain", "--dataset", everything / "others", "--num-steps", 20, "--seed", 4, "--json", "--workspace", moved
    )
    assert (again.code, again.json["outcome"], again.json["entry"]) == (0, "unchanged", retrained.json["entry"])


@pytest.fixture
def bucket(tmp_path):
    with amazon(tmp_path) as store:
        yield store


def run_documented(script: str, store: Emulated, folder: Path) -> None:
    names = {"AWS_DEFAULT_REGION": "us-east-1", "BACKBEAM_CACHE_DIR": str(folder / "cache")}
    run_script(script.replace("BUCKET", BUCKET), folder, store.environment | names)


@pytest.mark.skipif(not shutil.which("aws"), reason="needs aws, of Debian's package awscli or pip's")
def test_the_commands_of_the_page_move_a_workspace(workspace, bucket, tmp_path):
    before = kept(workspace)
    run_documented(find("aws s3 sync backbeam-workspace"), bucket, tmp_path)
    assert bucket.visible("ws") == before
    shutil.rmtree(workspace)
    run_documented(find("aws s3 sync s3://BUCKET/ws backbeam-workspace"), bucket, tmp_path)
    assert kept(workspace) == before


@pytest.mark.skipif(not shutil.which("aws"), reason="needs aws, of Debian's package awscli or pip's")
def test_an_older_copy_of_the_same_size_is_replaced_by_the_command_of_the_page(workspace, bucket, tmp_path):
    sync, *_ = find("aws s3 sync s3://BUCKET/ws backbeam-workspace").splitlines()
    pointer = workspace / "registry" / "champion.json"
    newer = pointer.read_bytes().replace(b'"version": 1', b'"version": 2')
    bucket.put("ws/registry/champion.json", newer)
    run_documented(sync.replace("--exact-timestamps", ""), bucket, tmp_path)
    assert pointer.read_bytes() != newer
    run_documented(sync, bucket, tmp_path)
    assert pointer.read_bytes() == newer
