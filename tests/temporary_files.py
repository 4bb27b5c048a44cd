"""A plugin of pytest: a session whose tests leave files in the folder for temporary files fails."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

DELETED_AT_EXIT = "__autograph_generated_file*.py"  # by TensorFlow, after the session: the code of a `tf.function`


def pytest_configure(config: pytest.Config) -> None:
    """Give the session a folder for temporary files, which must be empty at its end; pytest's own stay where they are.

    Workers of pytest-xdist inherit it.
    """
    if hasattr(config, "workerinput"):
        return
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
    os.environ["TMPDIR"] = tempfile.tempdir = tempfile.mkdtemp(prefix="backbeam-tests-")


@pytest.hookimpl(wrapper=True, tryfirst=True)  # around all others, of which one ends the workers
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    yield
    if hasattr(session.config, "workerinput"):
        return
    folder = Path(tempfile.gettempdir())
    deleted_at_exit = set(folder.glob(DELETED_AT_EXIT))
    left = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path not in deleted_at_exit)
    shutil.rmtree(folder)
    if left:
        pytest.exit(f"tests left {len(left)} files and folders in the temporary folder: {', '.join(left[:20])}", 1)
