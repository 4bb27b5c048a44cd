"""A user who may only read a workspace: every command that only reads works, and the others say what they may not."""

import os
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.emulators import BUCKET, SECRET, Emulated, amazon
from tests.helpers import Finished, contents, run_in_one_process, run_in_process
from tests.page_scripts import section_of

pytestmark = pytest.mark.thorough

STORAGE = 5  # the documented exit code
OTHER_USER = 65534
CHAMPION = "article-manual-seed1"


def writing(sources: Path) -> list[tuple[object, ...]]:
    """Return commands that write, but for their workspace."""
    return [
        ("run", "--dataset", sources / "others"),
        ("retrain", "--dataset", sources / "others"),
        ("evaluate", CHAMPION),
        ("promote", CHAMPION),
        ("rollback",),
        ("prune", "--keep", 0),
        ("verify", "--repair"),
        ("migrate",),
        ("report", CHAMPION),
        ("inspect", "digits"),
    ]


def reading(folder: Path, sources: Path) -> list[tuple[object, ...]]:
    """Return the commands that only read, but for their workspace; they write to a folder."""
    return [
        ("verify", "--json"),
        ("runs", "--json"),
        ("show", CHAMPION, "--json"),
        ("compare", CHAMPION, "article-manual-seed2", "--json"),
        ("champion", "--json"),
        ("history", "--json"),
        ("du", "--json"),
        ("prune", "--keep", 0, "--dry-run", "--json"),
        ("migrate", "--dry-run", "--json"),
        ("predict", sources / "digits" / "t10k-images-idx3-ubyte", "--run", CHAMPION, "--json"),
        ("export", CHAMPION, "--to", folder / "exported", "--json"),
        ("report", CHAMPION, "--to", folder / "page.html", "--json"),
        ("learn", CHAMPION, "--to", folder / "learn.html", "--json"),
        ("inspect", "digits", "--to", folder / "sheets", "--json"),
    ]


def check_readings(ended: list[Finished], folder: Path) -> None:
    verified, runs, _, _, champion, *_, predicted, _, _, _, _ = ended
    assert [(done.code, done.err) for done in ended if done.code] == []
    assert "is not locked, because this user may only read it" in verified.err
    assert (verified.json["sound"], verified.json["leftovers"]) == (True, [])
    assert champion.json["run_id"] in {run["run_id"] for run in runs.json["runs"]}
    assert len(predicted.json["predictions"]) == 20
    assert {path.name for path in folder.iterdir()} == {"exported", "page.html", "learn.html", "sheets"}


def check_refusals(ended: list[Finished], reason: str) -> None:
    for done in ended:
        assert (done.code, done.out) == (STORAGE, ""), done
        assert reason in done.err, done
        assert "Traceback" not in done.err, done


def describe(folder: Path) -> dict[str, tuple[int, int]]:
    """Return the size and the time of every file and folder."""
    states = {path: path.stat() for path in [folder, *folder.rglob("*")]}
    return {str(path): (state.st_size, state.st_mtime_ns) for path, state in states.items()}


@pytest.fixture
def viewed(everything, tmp_path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """A workspace that may only be read, and the words that start a command as its viewer.

    Modes do not stop the superuser, so the viewer is one without its rights, and somebody else owns the workspace.
    """
    workspace = shutil.copytree(everything / "ws", tmp_path / "ws")
    paths = [workspace, *workspace.rglob("*")]
    if os.geteuid() == 0:
        if not shutil.which("setpriv"):
            pytest.skip("needs setpriv, of Debian's package util-linux, to take the superuser's rights away")
        for path in paths:
            os.chown(path, OTHER_USER, OTHER_USER)
        yield workspace, ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
        return
    for path in paths:
        path.chmod(path.stat().st_mode & ~0o222)
    yield workspace, ()
    for path in paths:
        path.chmod(path.stat().st_mode | 0o200)  # so that pytest may delete it


def test_a_viewer_on_a_disk_reads_everything_and_writes_nothing(viewed, everything, tmp_path):
    workspace, prefix = viewed
    folder = tmp_path / "out"
    folder.mkdir()
    before = describe(workspace)
    where = ("--workspace", workspace)
    commands = reading(folder, everything)
    ended = run_in_one_process(*((*words, *where) for words in [*commands, *writing(everything)]), prefix=prefix)
    check_readings(ended[: len(commands)], folder)
    check_refusals(ended[len(commands) :], "Permission denied")
    assert describe(workspace) == before


class Viewer:
    """A user of an emulated S3 who has the rights that docs/operations.md gives a viewer."""

    def __init__(self, store: Emulated) -> None:
        self._address = store.address
        policy = section_of("operations.md", "Read-only viewers").split("```json\n")[1].split("```")[0]
        names = {"aws_access_key_id": "an-identity", "aws_secret_access_key": SECRET, "region_name": "us-east-1"}
        iam = boto3.client("iam", endpoint_url=f"http://{store.address}", **names)
        iam.create_user(UserName="viewer")
        document = policy.replace("BUCKET", BUCKET).replace("/ws/", "/")
        iam.put_user_policy(UserName="viewer", PolicyName="read", PolicyDocument=document)
        key: dict[str, Any] = iam.create_access_key(UserName="viewer")["AccessKey"]
        iam.close()
        self.environment = store.environment | {
            "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        }

    def enforce(self, is_enforced: bool) -> None:
        """Let the emulator check the rights of every request from now on, or of none."""
        num_free = b"0" if is_enforced else b"inf"  # requests whose rights are not checked
        url = f"http://{self._address}/moto-api/reset-auth"
        urllib.request.urlopen(urllib.request.Request(url, num_free, {"Content-Type": "text/plain"})).close()


def test_a_viewer_in_a_bucket_reads_everything_and_writes_nothing(everything, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    cache = tmp_path / "cache"
    with amazon(tmp_path) as store:
        for name, data in contents(everything / "ws").items():
            if not name.startswith("."):
                store.put(f"ws/{name}", data)
        viewer = Viewer(store)
        before = store.contents("ws")
        viewer.enforce(True)
        environment = viewer.environment | {"BACKBEAM_CACHE_DIR": str(cache)}
        where = ("--workspace", store.uri("ws"))
        read = [run_in_process(*words, *where, environment=environment) for words in reading(folder, everything)]
        refused = [run_in_process(*words, *where, environment=environment) for words in writing(everything)]
        viewer.enforce(False)
        assert store.contents("ws") == before
    check_readings(read, folder)
    check_refusals(refused, "or they may not do this: 403")
