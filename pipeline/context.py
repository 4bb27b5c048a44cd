"""What every stage needs: settings, a log of what was done, and doing only what is not complete yet."""

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
from pipeline.progress import say
from pipeline.storage.places import Place
from pipeline.storage.workspace import local_folder_of, temporary_files_in

T = TypeVar("T")


@dataclass(frozen=True)
class StageContext:
    """What every stage needs to know.

    Attributes:
        workspace: the root of everything.
        beam_arguments: options for Beam.
        device: what TensorFlow is to run on; see `model.devices.choose_devices`.
        cluster: the processes that train together; None for this one alone.
    """

    workspace: Place
    beam_arguments: tuple[str, ...]
    device: str = "auto"
    cluster: Cluster | None = None

    @property
    def engine_log(self) -> Path:
        """What a Beam engine that failed wrote to standard error; a file of this machine."""
        return local_folder_of(self.workspace) / "engine.log"


@dataclass
class StageLog:
    """What the stages did.

    Attributes:
        seconds: of each stage; "import" is the time that importing TensorFlow and Beam took.
        skipped: stages whose result was there and verified.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the time spent inside to a stage."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - started


def run_unless_complete(
    stage: str, complete: bool, build: Callable[[], None], check: Callable[[], T], settings: StageContext, log: StageLog
) -> T:
    """Build what a stage builds unless it is complete; either way, return it checked."""
    if complete:
        log.skipped.append(stage)
    say(f"{stage}: {'already done, checking' if complete else 'working'}")
    if not complete:
        with temporary_files_in(settings.workspace):
            build()
    with log.timed(stage):
        return check()


@contextmanager
def quiet_imports() -> Iterator[None]:
    """Keep what native libraries write to standard error while they are imported, and show it only if that fails."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # native warnings and errors only
    logging.getLogger().addHandler(logging.NullHandler())  # Beam's own warning would set up logging otherwise
    sys.stderr.flush()
    with tempfile.TemporaryFile() as heard:
        kept = os.dup(2)
        os.dup2(heard.fileno(), 2)
        try:
            yield
        except BackbeamError:  # which says all there is to say
            raise
        except BaseException:
            heard.seek(0)
            with suppress(OSError):  # of standard error; the import's failure is what to raise
                os.write(kept, heard.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
