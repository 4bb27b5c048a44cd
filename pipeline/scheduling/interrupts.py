"""Signals as something to look at, not as exceptions: a scheduler is never broken off between two of its records."""

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType


class Interrupts:
    """What signals asked this process to end, and a sleep that ends when one comes, or when a child process does.

    Attributes:
        received: SIGINT and SIGTERM as they came.
    """

    def __init__(self, woken: int) -> None:
        self.received: list[int] = []
        self._woken = woken

    def note(self, number: int, _: FrameType | None) -> None:
        """Take note of a signal."""
        if number != signal.SIGCHLD:
            self.received.append(number)

    def pause(self, seconds: float) -> None:
        """Sleep, at most so long; one signal or several since the last sleep make it end at once."""
        if select.select([self._woken], [], [], max(0.0, seconds))[0]:
            with suppress(BlockingIOError):
                os.read(self._woken, 2**16)


@contextmanager
def listening() -> Iterator[Interrupts]:
    """Take over SIGINT, SIGTERM and SIGCHLD inside."""
    woken, waker = os.pipe()
    interrupts = Interrupts(woken)
    for end in (woken, waker):
        os.set_blocking(end, False)
    earlier_waker = signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)
    earlier = {number: signal.signal(number, interrupts.note) for number in numbers}
    try:
        yield interrupts
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(earlier_waker)
        os.close(woken)
        os.close(waker)
