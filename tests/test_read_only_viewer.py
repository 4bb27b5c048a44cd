"""A user who may only read a workspace: every command that only reads works, and the others say what they may not."""

import os
import shutil
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias

import boto3
import pytest
from azure.storage.blob import ContainerSasPermissions, generate_container_sas

from tests.emulators import AZURE, BUCKET, SECRET, Emulated, amazon, azure
from tests.helpers import Finished, contents, run_in_one_process, run_in_process
from tests.page_scripts import section_of

pytestmark = pytest.mark.thorough

STORAGE = 5  # the documented exit code
OTHER_USER = 65534
Grant: TypeAlias = Callable[[], dict[str, str]]  # returns the environment of a user who may only read
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


@pytest.fixture
def viewed_amazon(tmp_path) -> Iterator[tuple[Emulated, Grant]]:
    """An emulated S3, and the function that gives a new user the rights of the page and enforces them from then on."""
    with amazon(tmp_path) as store, ExitStack() as stack:
        names = {"endpoint_url": f"http://{store.address}", "region_name": "us-east-1"}

        def grant() -> dict[str, str]:
            policy = section_of("operations.md", "Read-only viewers").split("```json\n")[1].split("```")[0]
            iam = boto3.client("iam", aws_access_key_id="an-identity", aws_secret_access_key=SECRET, **names)
            stack.enter_context(closing(iam)).create_user(UserName="viewer")
            document = policy.replace("BUCKET", BUCKET)
            iam.put_user_policy(UserName="viewer", PolicyName="read", PolicyDocument=document)
            key = iam.create_access_key(UserName="viewer")["AccessKey"]
            pair = (key["AccessKeyId"], key["SecretAccessKey"])
            store.client = boto3.client("s3", aws_access_key_id=pair[0], aws_secret_access_key=pair[1], **names)
            stack.enter_context(closing(store.client))
            # From this request on, the emulator checks signatures and rights.
            url = f"http://{store.address}/moto-api/reset-auth"
            urllib.request.urlopen(urllib.request.Request(url, b"0", {"Content-Type": "text/plain"})).close()
            return store.environment | dict(zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), pair, strict=True))

        yield store, grant


@pytest.fixture
def viewed_azure(tmp_path) -> Iterator[tuple[Emulated, Grant]]:
    """An emulated account of Azure, and the function that returns a token that may read and list."""
    with azure(tmp_path) as store:

        def grant() -> dict[str, str]:
            name = AZURE["AZURE_STORAGE_ACCOUNT_NAME"]
            token = generate_container_sas(
                name,
                BUCKET,
                AZURE["AZURE_STORAGE_ACCOUNT_KEY"],
                permission=ContainerSasPermissions(read=True, list=True),
                expiry=datetime.now(UTC) + timedelta(hours=1),
            )
            endpoint = store.environment["AZURE_STORAGE_ENDPOINT"]
            names = {"AZURE_STORAGE_ACCOUNT_NAME": name, "AZURE_STORAGE_ENDPOINT": endpoint}
            return names | {"AZURE_STORAGE_SAS_TOKEN": token}

        yield store, grant


@pytest.mark.parametrize("fixture", ["viewed_amazon", pytest.param("viewed_azure", marks=pytest.mark.slow)])
def test_a_viewer_in_a_bucket_reads_everything_and_writes_nothing(fixture, request, everything, tmp_path):
    store, grant = request.getfixturevalue(fixture)
    folder = tmp_path / "out"
    folder.mkdir()
    for name, data in contents(everything / "ws").items():
        if not name.startswith("."):
            store.put(f"ws/{name}", data)
    before = store.contents("ws")
    environment = grant() | {"BACKBEAM_CACHE_DIR": str(tmp_path / "cache")}
    where = ("--workspace", store.uri("ws"))
    read = [run_in_process(*words, *where, environment=environment) for words in reading(folder, everything)]
    refused = [run_in_process(*words, *where, environment=environment) for words in writing(everything)]
    assert store.contents("ws") == before
    check_readings(read, folder)
    check_refusals(refused, "or they may not do this: 403")
