"""The context and the log of stages; skip complete stages; import quietly."""

import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from model.cluster import Cluster
from model.errors import BackbeamError
from pipeline.progress import is_command, show_message
from pipeline.storage.places import Place
from pipeline.storage.workspace import local_folder_of, temporary_files_in

T = TypeVar("T")


@dataclass(frozen=True)
class StageContext:
    """The settings of all stages."""

    workspace: Place  # the root of datasets/, runs/, reports/ and registry/
    beam_arguments: tuple[str, ...]
    device: str = "auto"  # see `model.devices.choose_devices`
    cluster: Cluster | None = None  # the processes that train together

    @property
    def engine_log(self) -> Path:
        """The local file for the standard error of a Beam engine that failed."""
        return local_folder_of(self.workspace) / "engine.log"


@dataclass
class StageLog:
    """A log of the stages of a command."""

    seconds: dict[str, float] = field(default_factory=dict)  # by stage; "import" is that of TensorFlow and Beam
    skipped: list[str] = field(default_factory=list)  # stages whose result was complete

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the duration of the context to a stage."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - started


def run_unless_complete(
    stage: str, complete: bool, build: Callable[[], None], check: Callable[[], T], context: StageContext, log: StageLog
) -> T:
    """Build the result of a stage unless it is complete; in either case verify it by check, and return what that does.

    Temporary files of the build go to the workspace's temporary folder.
    """
    if complete:
        log.skipped.append(stage)
    show_message(f"{stage}: {'already done, checking' if complete else 'working'}")
    if not complete:
        with temporary_files_in(context.workspace):
            build()
    with log.timed(stage):
        return check()


@contextmanager
def quiet_imports() -> Iterator[None]:
    """Hide what native libraries write to standard error while they are imported, unless the import fails.

    In a program that imports backbeam, standard error and the root logger are left alone.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # 2: errors only
    if not is_command():
        yield
        return
    # Without a handler, the first warning of Beam calls logging.basicConfig, and all later ones are printed.
    logging.getLogger().addHandler(logging.NullHandler())
    sys.stderr.flush()
    with tempfile.TemporaryFile() as captured:
        stderr = os.dup(2)
        os.dup2(captured.fileno(), 2)
        try:
            yield
        except BackbeamError:  # its message needs no further explanation
            raise
        except BaseException:
            captured.seek(0)
            with suppress(OSError):  # the import's error is raised, not that of standard error
                os.write(stderr, captured.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
