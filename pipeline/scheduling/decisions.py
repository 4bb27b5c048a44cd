"""State and time -> what to do next. Pure: it knows no clock and no process."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from pipeline.scheduling.state import State
from pipeline.scheduling.timetable import Timetable


@dataclass(frozen=True)
class Plan:
    """What was asked for.

    Attributes:
        timetable: when work is due.
        jitter: how much later a run may begin than it is due, to spread the runs of several machines.
        salt: what tells this scheduler from others, such as its workspace and host.
    """

    timetable: Timetable
    jitter: timedelta = timedelta()
    salt: str = ""

    def delay(self, due: datetime) -> timedelta:
        """Return how much later than it is due a run begins: less than the jitter, and than the time to the next.

        It is a digest of salt and due time, not drawn: a restart changes nothing, and what is announced holds.
        """
        if not self.jitter:
            return timedelta()
        from model.random_streams import Purpose, stream_key  # NumPy, which a scheduler without jitter does not need

        digest = hashlib.sha256(f"{self.salt} {due.isoformat()}".encode()).digest()
        key = stream_key(Purpose.JITTER, int.from_bytes(digest[:8]))
        share = (key >> 11) / 2**53  # exact, and so below 1
        return share * min(self.jitter, self.timetable.after(due) - due)


@dataclass(frozen=True)
class Wait:
    """Do nothing for now.

    Attributes:
        until: when something is to do, if nothing changes.
        due: what is due next.
    """

    until: datetime
    due: datetime

    @property
    def retries(self) -> bool:
        """Whether what follows is another try, before anything is due."""
        return self.until < self.due


@dataclass(frozen=True)
class Run:
    """Run now.

    Attributes:
        due: the due time that this is for; it and all before it are handled by this run.
        missed: how many due times before that were missed and are handled too; up to MOST_COUNTED.
        retries: whether it was tried before.
        is_first: whether nothing is due, and nothing was ever run.
    """

    due: datetime
    missed: int = 0
    retries: bool = False
    is_first: bool = False


def next_action(state: State, now: datetime, plan: Plan) -> Wait | Run:
    """Decide what to do.

    What was due since the last handled due time is one run, however much it is. A try again gives way to it.
    """
    timetable = plan.timetable
    due = timetable.latest(state.handled, now)
    if due:
        begin = due + plan.delay(due)
        return Run(due, timetable.count(state.handled, due) - 1) if now >= begin else Wait(begin, due)
    following = timetable.after(max(state.handled, now))
    if state.retry_at and state.retry_at < following:
        return Run(state.handled, retries=True) if now >= state.retry_at else Wait(state.retry_at, following)
    return Wait(following + plan.delay(following), following)
