"""The processes that train one run together, as the environment variable TF_CONFIG names them.

    TF_CONFIG='{"cluster": {"worker": ["127.0.0.1:2301", "127.0.0.1:2302"]}, "task": {"type": "worker", "index": 0}}'

Every process is a worker with one replica; the first is the chief, which writes the artefacts. TensorFlow waits an
hour for a missing worker and does not notice that two workers train different runs. So the workers first meet on the
chief's address; TensorFlow's own servers start afterwards. This module does not import TensorFlow.

A worker sends a hello to the chief. When all workers have connected, the chief asks each whether it is ready and sends
"go" only after all have answered: sending to a process that has died may succeed, so only an answer counts. If one of
them has found a damaged file, the chief sends that to all instead.
"""

import contextlib
import json
import select
import socket
import time
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, Field, ValidationError

from model.errors import BadUsage, CorruptArtefact, Damage, EngineFailed
from model.recipes import TrainingConfig

VARIABLE = "TF_CONFIG"
JOBS = ("chief", "worker")  # in the order in which TensorFlow numbers their tasks
MEETING_SECONDS = 60.0
_HELLO_BYTES = 2**16
_ANSWER_SECONDS = 5.0
_PAUSE_SECONDS = 0.1
_MOST_PORT = 65_535
_EXAMPLE = '{"cluster": {"worker": ["HOST:PORT", "HOST:PORT"]}, "task": {"type": "worker", "index": 0}}'

Address = Annotated[str, Field(pattern=r"^[^\s:/]+:[0-9]{1,5}$")]


class Cluster(NamedTuple):
    """Several processes, and which of them this one is.

    Attributes:
        addresses: HOST:PORT of each, in the order of the replicas.
        task_index: this process; 0 is the chief.
    """

    addresses: tuple[str, ...]
    task_index: int

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the artefacts."""
        return self.task_index == 0


class _Task(BaseModel):
    type: str
    index: Annotated[int, Field(ge=0)]


class _Description(BaseModel):
    cluster: dict[str, Annotated[list[Address], Field(min_length=1)]] = {}
    task: _Task | None = None


def read_cluster(environment: Mapping[str, str]) -> Cluster | None:
    """Read TF_CONFIG.

    Returns:
        the cluster; None if the variable is not set or names only this process.

    Raises:
        BadUsage: it is not JSON, lacks the task, or names jobs other than chief and worker.
    """
    text = environment.get(VARIABLE, "").strip()
    if not text:
        return None
    try:
        found = _Description.model_validate_json(text)
    except ValidationError as problem:
        first = problem.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise _refused(f"{place + ': ' if place else ''}{first['msg']}") from None
    return _take_cluster(found) if found.cluster else None


def check_cluster(cluster: Cluster | None, config: TrainingConfig) -> None:
    """Check that there is one process for each replica; raises BadUsage if not."""
    if cluster and len(cluster.addresses) != config.num_replicas:
        raise BadUsage(
            f"{VARIABLE} names {len(cluster.addresses)} workers but num_replicas is {config.num_replicas}: "
            f"give every worker --replicas {len(cluster.addresses)}, or unset {VARIABLE} to train in one process"
        )


def meet(cluster: Cluster, identity: str, seconds: float = MEETING_SECONDS, damage: Damage | None = None) -> None:
    """Wait until every process of the cluster is connected, and check that all train the same run.

    Args:
        cluster: the processes.
        identity: of the run: data set, configuration and versions.
        seconds: how long to wait for the others.
        damage: what this process has found in its part of the data set.

    Raises:
        EngineFailed: a process did not connect in time.
        BadUsage: a process would train another run.
        CorruptArtefact: a process has found damage; in all of them that of the first one.
    """
    deadline = time.monotonic() + seconds
    try:
        if cluster.is_chief:
            _receive_workers(cluster, identity, damage, deadline)
        else:
            _report_to_chief(cluster, identity, damage, deadline)
    except OSError as problem:
        where = cluster.addresses[0]
        raise EngineFailed(f"the workers did not meet at {where} within {seconds:g} s: {problem}") from None


def _take_cluster(found: _Description) -> Cluster | None:
    unknown = sorted(set(found.cluster) - set(JOBS))
    if unknown:
        raise _refused(f"the job {unknown[0]!r} is not supported, only chief and worker are")
    if found.task is None:
        raise _refused("the task is missing: which of the cluster is this process?")
    if len(found.cluster.get("chief", ())) > 1:
        raise _refused("more than one chief")
    tasks = [(job, i) for job in JOBS for i in range(len(found.cluster.get(job, ())))]
    addresses = tuple(address for job in JOBS for address in found.cluster.get(job, ()))
    if any(_place(address)[1] > _MOST_PORT for address in addresses):
        raise _refused(f"a port is above {_MOST_PORT}")
    if len(set(addresses)) != len(addresses):
        raise _refused("two tasks have the same address")
    mine = (found.task.type, found.task.index)
    if mine not in tasks:
        raise _refused(f"the task {mine[0]} {mine[1]} is not one of the cluster")
    return Cluster(addresses, tasks.index(mine)) if len(addresses) > 1 else None


def _refused(problem: str) -> BadUsage:
    return BadUsage(f"{VARIABLE}: {problem}; it reads, for example, {_EXAMPLE}")


def _receive_workers(cluster: Cluster, identity: str, damage: Damage | None, deadline: float) -> None:
    """Wait for the hello of every other task, check that all are still alive, and send "go" to all or to none."""
    waiting: dict[int, socket.socket] = {}
    damages = {0: damage}
    others = set(range(1, len(cluster.addresses)))
    try:
        with socket.create_server(_place(cluster.addresses[0])) as server:
            while set(waiting) != others or not _all_ready(waiting, deadline):
                _left(deadline, f"no word from {_names(cluster, others - set(waiting))}")
                _dismiss_dead(server, waiting, deadline)
                _admit_one(server, waiting, others, identity, damages, deadline)
        found = next((damages[task] for task in sorted(damages) if damages[task]), None)
        for connection in waiting.values():
            _send(connection, {"damage": found} if found else {"go": True})
        if found:
            raise CorruptArtefact.of_damage(found)
    finally:
        for connection in waiting.values():
            connection.close()


def _dismiss_dead(server: socket.socket, waiting: dict[int, socket.socket], deadline: float) -> None:
    """Wait for an event and drop the workers that disconnected.

    A waiting worker sends nothing, so a connection that can be read from is closed.
    """
    left = max(0.0, deadline - time.monotonic())
    happened = select.select([server, *waiting.values()], [], [], left)[0]
    for task in [task for task, connection in waiting.items() if connection in happened]:
        waiting.pop(task).close()


def _admit_one(
    server: socket.socket,
    waiting: dict[int, socket.socket],
    others: set[int],
    identity: str,
    damages: dict[int, Damage | None],
    deadline: float,
) -> None:
    """Accept a pending connection, if there is one, if its hello names a task that is still missing.

    What the task says of damage is put into damages.
    """
    server.settimeout(0)
    try:
        connection = server.accept()[0]
    except BlockingIOError:
        return
    hello = _receive(connection, min(deadline, time.monotonic() + _ANSWER_SECONDS))
    task = hello.get("task")
    if not isinstance(task, int) or task not in others - set(waiting):
        connection.close()  # not a worker of the cluster, or a task that is connected already
        return
    waiting[task] = connection
    damages[task] = _read_damage(hello)
    _check_identity(waiting, hello, identity)


def _all_ready(waiting: dict[int, socket.socket], deadline: float) -> bool:
    """Ask every worker whether it is ready, and drop those that do not answer in time; return whether all did."""
    for connection in waiting.values():
        with contextlib.suppress(OSError):  # it has died; there will be no answer
            _send(connection, {"ready": True})
    soon = min(deadline, time.monotonic() + _ANSWER_SECONDS)
    silent = [task for task, connection in waiting.items() if not _receive(connection, soon).get("ready")]
    for task in silent:
        waiting.pop(task).close()
    return not silent


def _check_identity(waiting: dict[int, socket.socket], hello: dict[str, Any], identity: str) -> None:
    if hello.get("identity") != identity:
        message = (
            f"the chief would train {identity} but task {hello['task']} would train {hello.get('identity')}: "
            "give every worker the same data set, options and versions, and the same checkpoints to go on from"
        )
        for connection in waiting.values():
            with contextlib.suppress(OSError):  # it has disconnected
                _send(connection, {"refused": message})
        raise BadUsage(message)


def _read_damage(message: dict[str, Any]) -> Damage | None:
    found = message.get("damage")
    return (str(found[0]), found[1]) if isinstance(found, list) and len(found) == 2 else None


def _report_to_chief(cluster: Cluster, identity: str, damage: Damage | None, deadline: float) -> None:
    while True:
        left = _left(deadline, "no answer from the chief")
        try:
            with socket.create_connection(_place(cluster.addresses[0]), left) as connection:
                _send(connection, {"task": cluster.task_index, "identity": identity, "damage": damage})
                answer = _receive(connection, deadline)
                while answer.get("ready"):
                    _send(connection, answer)
                    answer = _receive(connection, deadline)
        except OSError:
            answer = {}
        if answer.get("go"):
            return
        if "refused" in answer:
            raise BadUsage(str(answer["refused"]))
        found = _read_damage(answer)
        if found:
            raise CorruptArtefact.of_damage(found)
        time.sleep(_PAUSE_SECONDS)  # the chief is not up yet, or has not noticed that an earlier process died


def _send(connection: socket.socket, message: dict[str, Any]) -> None:
    connection.sendall(json.dumps(message).encode() + b"\n")


def _receive(connection: socket.socket, deadline: float) -> dict[str, Any]:
    """Read one line of JSON, an object; {} for anything else, an error included."""
    data = b""
    piece = b"-"
    try:
        while piece and not data.endswith(b"\n") and len(data) < _HELLO_BYTES:
            connection.settimeout(_left(deadline, "no answer"))
            piece = connection.recv(_HELLO_BYTES)
            data += piece
        message = json.loads(data)
    except (OSError, ValueError):
        return {}
    return message if isinstance(message, dict) else {}


def _left(deadline: float, problem: str) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError(problem)
    return left


def _place(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


def _names(cluster: Cluster, tasks: set[int]) -> str:
    return ", ".join(f"{cluster.addresses[task]} (task {task})" for task in sorted(tasks))
