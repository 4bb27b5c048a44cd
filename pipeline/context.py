"""The context and the log of stages. Skip complete stages, hide messages of imports, capture those of engines."""

import gc
import logging
import os
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import IO, Any, TextIO, TypeVar, cast

from model.cluster import Cluster
from model.errors import BackbeamError, EngineFailed, StorageFailed
from pipeline.message_streams import open_messages
from pipeline.progress import console, is_command, show_event, show_message
from pipeline.storage.files import remove_file, write_atomically
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

    def add(self, seconds: Mapping[str, float]) -> None:
        """Add the durations of stages that another process has timed."""
        for stage, duration in seconds.items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + duration

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the duration of the context to a stage."""
        started = time.monotonic()
        try:
            yield
        finally:
            seconds = time.monotonic() - started
            self.add({stage: seconds})
            show_event(f"{stage}: {seconds:.1f} s", "stage_timed", stage=stage, seconds=round(seconds, 3))


def run_unless_complete(
    stage: str, complete: bool, build: Callable[[], None], check: Callable[[], T], context: StageContext, log: StageLog
) -> T:
    """Build the result of a stage unless it is complete; in either case verify it by check, and return what that does.

    Temporary files of the build go to the workspace's temporary folder.
    """
    if complete:
        log.skipped.append(stage)
    event = "stage_skipped" if complete else "stage_started"
    show_message(f"{stage}: {'already done, checking' if complete else 'working'}", event, stage=stage)
    if not complete:
        with temporary_files_in(context.workspace):
            build()
    with log.timed(stage):
        return check()


@contextmanager
def quiet_imports() -> Iterator[None]:
    """Hide what native libraries write to standard error while they are imported, unless the import fails.

    TensorFlow is imported without Keras. In a program that imports backbeam, standard error, the root logger and Keras
    are left alone.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # 2: errors only
    if not is_command():
        yield
        return
    # Without a handler, the first warning of Beam calls logging.basicConfig, and all later ones are printed.
    logging.getLogger().addHandler(logging.NullHandler())
    sys.stderr.flush()
    with _open_captured() as captured, _without_keras(), _without_collection():
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


@contextmanager
def _without_keras() -> Iterator[None]:
    """Keep `import tensorflow` from importing Keras, which takes 0.3 s; with pandas and scikit-learn installed, 1.2 s.

    Nothing here uses Keras. TensorFlow goes on if this import of it fails, and it has `tf.keras` when that is used.
    """
    imported = "keras.src.optimizers" in sys.modules
    sys.modules.setdefault("keras.src.optimizers", None)  # type: ignore[arg-type]  # its import raises ImportError
    try:
        yield
    finally:
        if not imported:
            sys.modules.pop("keras.src.optimizers", None)  # another thread may have removed it


@contextmanager
def _without_collection() -> Iterator[None]:
    """Turn garbage collection off during imports, and exclude the imported objects from later collections.

    So TensorFlow was imported in 1.4 instead of 1.7 s, and Python ended in 0.1 instead of 1.0 s.
    """
    num_modules = len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > num_modules:
            gc.freeze()
        gc.enable()


def _open_captured() -> IO[bytes]:
    """Open a file that is nowhere, or a temporary file; options are read before temporary files go to a workspace."""
    if hasattr(os, "memfd_create"):  # not on macOS
        return os.fdopen(os.memfd_create("captured"), "w+b")
    return tempfile.TemporaryFile()


@contextmanager
def capture_engine_messages(log: Path) -> Iterator[None]:
    """Capture the standard error of an engine and its workers; save it to a file if the engine fails.

    The file begins with the engine's error in full, and the message of the EngineFailed names the file. That of an
    earlier job is deleted first, unless it is on a read-only disk. In a program that imports backbeam nothing is
    captured, and standard error is left alone.
    """
    if os.access(log.parent, os.W_OK):
        remove_file(log)
    if not is_command():
        yield
        return
    with tempfile.TemporaryFile() as captured, _redirect_standard_error(captured.fileno()):
        try:
            yield
        except EngineFailed as problem:
            whole = traceback.format_exception(problem.__cause__) if problem.__cause__ else []
            if not whole and not captured.seek(0, os.SEEK_END):
                raise
            captured.seek(0)
            try:
                write_atomically(log, chain(map(os.fsencode, whole), captured))
            except StorageFailed:  # the engine's error is more important
                raise problem from None
            raise EngineFailed(f"{problem}; what the engine wrote is in {log}") from problem


@contextmanager
def _redirect_standard_error(descriptor: int) -> Iterator[None]:
    """Redirect file descriptor 2, and `sys.stderr` for the threads of the engine; other threads still show messages.

    If a signal ends the process, threads of the engine still run on the way out, and what they write is dropped.
    """
    sys.stderr.flush()
    shown = os.dup(2)
    original = sys.stderr  # writes to descriptor 2
    hook = threading.excepthook
    with open_messages(shown, original.encoding) as messages:
        streams = _StreamOfThread(messages, original)
        sys.stderr = cast("TextIO", streams)
        console.file = messages  # progress is shown by threads of its own
        threading.excepthook = lambda problem: traceback.print_exception(
            problem.exc_type, problem.exc_value, problem.exc_traceback, file=cast("TextIO", streams)
        )
        os.dup2(descriptor, 2)
        ended_by: BaseException | None = None
        try:
            yield
        except SystemExit as end:
            ended_by = end
            raise
        finally:
            original.flush()
            os.dup2(shown, 2)
            console.file = None  # type: ignore[assignment]  # what `sys.stderr` is
            if ended_by:
                streams.shown = original
                streams.of_engine = None
            else:
                sys.stderr = original
                threading.excepthook = hook


class _StreamOfThread:
    """`sys.stderr` while an engine works: one stream for the threads that ran before, and another for the engine's."""

    def __init__(self, shown: TextIO, of_engine: TextIO | None) -> None:
        self.shown = shown
        self.of_engine = of_engine  # None: what is written is dropped
        self._earlier_threads = set(threading.enumerate())

    def write(self, text: str) -> int:
        """Write a text to the stream of the current thread."""
        stream = self.shown if threading.current_thread() in self._earlier_threads else self.of_engine
        return stream.write(text) if stream else len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.shown, name)
