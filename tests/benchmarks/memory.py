"""How long some work takes, and the peak of memory of this process and of every process that it starts.

Peaks are what the kernel keeps as VmHWM in /proc/PID/status, not the ru_maxrss of `getrusage`: that is never reset, so
that imports and what was done before count, and a process that is started inherits the peak of the one that starts it.
"""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from model.errors import BadUsage
from pipeline.worker_server import close_server

_PROCESSES = Path("/proc")
_SECONDS_BETWEEN = 0.05
_SHELL_BYTES = 2**24  # what takes less only starts a worker


class Measured(NamedTuple):
    """What some work took."""

    seconds: float  # by the clock
    cpu_seconds: float  # of the processor, this process's and those of the processes it started and waited for
    driver_bytes: int  # the peak of this process above what it held when the work began
    baseline_bytes: int  # what it held then
    worker_bytes: list[int]  # the peak of each process that it started, shells left out, the largest first


def check_measurable() -> None:
    if not (_PROCESSES / "self" / "clear_refs").exists():
        raise BadUsage("this benchmark reads peaks of memory from /proc, which only Linux has")


def watch(work: Callable[[], object]) -> Measured:
    own, done = _PROCESSES / "self", threading.Event()
    peaks: dict[int, int] = {}
    watcher = threading.Thread(target=_watch_started, args=(done, set(_descendants()), peaks), daemon=True)
    (own / "clear_refs").write_text("5")  # the peak begins anew
    baseline = _read(own, "VmRSS")
    started = time.perf_counter()
    busy = _cpu_seconds()
    watcher.start()
    try:
        work()
    finally:
        seconds = time.perf_counter() - started
        close_server()  # until it has ended, the times of the workers are not part of this process's
        cpu_seconds = _cpu_seconds() - busy
        done.set()
        watcher.join()
    workers = sorted((peak for peak in peaks.values() if peak > _SHELL_BYTES), reverse=True)
    return Measured(seconds, cpu_seconds, _read(own, "VmHWM") - baseline, baseline, workers)


def _cpu_seconds() -> float:
    return sum(os.times()[:4])


def _watch_started(done: threading.Event, others: set[int], peaks: dict[int, int]) -> None:
    """Note again and again the peak of every other descendant: until it runs its own program, it is its parent's."""
    while not done.wait(_SECONDS_BETWEEN):
        for process in set(_descendants()) - others:
            peak = _read(_PROCESSES / str(process), "VmHWM")
            if peak:  # a process that has ended has none any more
                peaks[process] = peak


def _descendants() -> list[int]:
    found, parents = list[int](), [Path("/proc/self")]
    while parents:
        children = [int(pid) for task in _tasks(parents.pop()) for pid in _text(task / "children").split()]
        found.extend(children)
        parents.extend(_PROCESSES / str(child) for child in children)
    return found


def _tasks(process: Path) -> list[Path]:
    try:
        return list((process / "task").iterdir())
    except OSError:  # it has ended
        return []


def _read(process: Path, name: str) -> int:
    """Read bytes from the process's status, 0 if it has ended."""
    lines = _text(process / "status").splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), 0)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
