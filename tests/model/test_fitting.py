import threading
import time

import pytest

from model.fitting import side_by_side


def test_every_run_is_worked_on():
    done = []
    side_by_side(lambda run, stop: done.append(run), range(7))
    assert sorted(done) == list(range(7))


def test_a_failure_stops_the_others_and_is_what_is_raised():
    stopped = threading.Event()

    def work(run, stop):
        if run == 1:
            raise ValueError("the reason")
        if stop.wait(30):
            stopped.set()
            raise RuntimeError("stopped")

    started = time.monotonic()
    with pytest.raises(ValueError, match="the reason"):
        side_by_side(work, [0, 1])
    assert time.monotonic() - started < 20
    assert stopped.is_set()
