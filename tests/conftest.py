"""Fixtures that tests of both packages use."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from tests.helpers import Digits, Finished, backbeam, build_everything, run_in_process
from tests.shared_folders import SharedFolders

pytest_plugins = ["tests.temporary_files"]

if TYPE_CHECKING:
    from tests.memory import Objects

# as every process that trains sets it: the same bits, whichever test compiles first
os.environ.setdefault(
    "XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false --xla_cpu_experimental_ynn_fusion_type=-LIBRARY_FUSION_TYPE_REDUCE"
)

# the same examples every time, so that a red run is red again
hypothesis.settings.register_profile("backbeam", derandomize=True, deadline=None)
hypothesis.settings.load_profile("backbeam")


MAKE_TARGETS = {
    "thorough": "make test-thorough",
    "slow": "make test-all",
    "engines": "make test-engines",
    "deploy": "make test-deploy",
}


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say what the marker expression leaves out, and which command runs it."""
    expression = config.option.markexpr
    left_out = [f"{name} ({target})" for name, target in MAKE_TARGETS.items() if f"not {name}" in expression]
    return f"left out, because it takes longer or needs more: {', '.join(left_out)}" if left_out else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many faults were injected and inputs tried, in all processes that shared the tests."""
    calls = [each for found in terminalreporter.stats.values() for each in found if getattr(each, "when", "") == "call"]
    pairs = [pair for report in calls for pair in report.user_properties]
    for what in ("faults injected", "hostile inputs tried"):
        counts = [count for name, count in pairs if name == what]
        if counts:
            terminalreporter.write_line(f"{what}: {sum(counts):,}, by {len(counts)} tests")


@pytest.fixture
def digits_folder(tmp_path: Path) -> Path:
    """A small data set of 60 and 20 images of 5 x 4 pixels in three classes."""
    return Digits().write(tmp_path / "digits")


@pytest.fixture(scope="module", params=["amazon", "google", pytest.param("azure", marks=pytest.mark.slow)])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """An emulated object store, as `tests.emulators` describes it."""
    from tests import emulators  # whose libraries few tests need

    with getattr(emulators, request.param)(tmp_path_factory.mktemp("emulator")) as emulated:
        yield emulated


@pytest.fixture
def run_in_store(store: Any, tmp_path: Path) -> Callable[..., Finished]:
    """Runs a command with this test's own folder of the store as its workspace."""

    def run(command: str, *arguments: object, environment: dict[str, str] | None = None) -> Finished:
        changed = {"BACKBEAM_CACHE_DIR": str(tmp_path / "cache")} | (environment or store.environment)
        return run_in_process(command, "--workspace", store.uri(tmp_path.name), *arguments, environment=changed)

    return run


@pytest.fixture(scope="session")
def shared_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedFolders]:
    base = tmp_path_factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared-folders"
    root.mkdir(exist_ok=True)
    folders = SharedFolders(root)
    yield folders
    folders.check_unchanged()


@pytest.fixture(scope="session")
def first_run(shared_folders: SharedFolders) -> tuple[Path, Finished]:
    """A workspace with a run on the embedded digits, and what the command said; tests that change it work on a copy."""

    def build(folder: Path) -> None:
        done = backbeam("run", "--workspace", folder / "ws", "--json")
        assert done.code == 0, done.err
        (folder / "finished.json").write_text(json.dumps(asdict(done)))

    folder = shared_folders.find("first_run", build)
    return folder / "ws", Finished(**json.loads((folder / "finished.json").read_text()))


@pytest.fixture(scope="session")
def digits_run(first_run: tuple[Path, Finished]) -> Path:
    return first_run[0]


@pytest.fixture(scope="session")
def seeds_run(shared_folders: SharedFolders) -> Path:
    """A workspace with runs of three seeds on made-up digits; tests that change it work on a copy."""

    def build(folder: Path) -> None:
        place = ("--workspace", folder / "ws", "--dataset", Digits().write(folder / "digits"))
        done = backbeam("run", *place, "--num-steps", 20, "--num-shards", 3, "--seeds", "1-3")
        assert done.code == 0, done.err

    return shared_folders.find("seeds_run", build) / "ws"


@pytest.fixture(scope="session")
def everything(shared_folders: SharedFolders) -> Path:
    """Folders `digits`, whose first train label is no class, and `others`; `ws` has every kind of artefact."""
    return shared_folders.find("everything", build_everything)


@pytest.fixture(scope="session")
def two_runs(shared_folders: SharedFolders, digits_run: Path) -> Path:
    """A workspace with two runs on the embedded digits; tests that change it work on a copy."""

    def build(folder: Path) -> None:
        workspace = shutil.copytree(digits_run, folder / "backbeam-workspace")
        done = backbeam("run", "--workspace", workspace, "--seed", 2)
        assert done.code == 0, done.err

    return shared_folders.find("two_runs", build) / "backbeam-workspace"


@pytest.fixture(scope="session")
def mnist_folder() -> Path:
    """The four files of canonical MNIST."""
    named = os.environ.get("BACKBEAM_TEST_DATA")
    folder = Path(named or "missing") / "mnist"
    if not folder.is_dir():
        pytest.skip("needs canonical MNIST: set BACKBEAM_TEST_DATA to a folder that holds mnist/ with its four files")
    return folder


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Iterator["Objects"]:
    """The objects of memory://, by URI; there are none yet."""
    from pipeline.storage import object_store
    from tests.memory import Objects

    objects = Objects()
    monkeypatch.setitem(object_store._OPENERS, "memory", objects.bucket)
    object_store._open.cache_clear()
    yield objects
    object_store._open.cache_clear()


@pytest.fixture
def small_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut the scans of small sources as those of large ones are cut."""
    from tests.small_tasks import SIZES

    for module, name, value in SIZES:
        monkeypatch.setattr(module, name, value)
