"""Whether a network fits the memory of this machine: looked at before anything is downloaded or drawn."""

from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from model.errors import BadUsage
from model.recipes import TrainingConfig

_FLOAT_BYTES = 4
_MEMORY_INFO = Path("/proc/meminfo")
_GROUPS_OF_PROCESS = Path("/proc/self/cgroup")
_GROUPS = Path("/sys/fs/cgroup")
_GPUS = Path("/dev")


def check_memory(config: TrainingConfig, device: str) -> None:
    """Check that what training cannot do without fits the memory of this machine.

    What the machine has is compared with the least that training takes, so nothing is refused that could work. On a
    system without /proc/meminfo nothing is compared.

    Args:
        config: what is to be trained.
        device: as `model.devices.choose_devices` takes it.

    Raises:
        BadUsage: it does not fit; the message has both figures.
    """
    machine = memory_bytes()
    needed = needed_bytes(config, device == "cpu" or (device == "auto" and not any(_GPUS.glob("nvidia[0-9]*"))))
    if machine is not None and needed > machine:
        layers = "-".join(map(str, config.layers))
        raise BadUsage(
            f"layers {layers} with batches of {config.batch_size:,} need {_gibibytes(needed)} of memory or more, and "
            f"this machine has {_gibibytes(machine)}: choose smaller layers or batches"
        )


def needed_bytes(config: TrainingConfig, on_cpu: bool) -> int:
    """Return the least memory that training takes on this machine, in bytes.

    The parameters, and on the CPU the gradients, the momentum if there is any, and a batch's values of every layer.
    """
    num_parameters = sum((inputs + 1) * outputs for inputs, outputs in pairwise(config.layers))
    if not on_cpu:
        return _FLOAT_BYTES * num_parameters
    num_copies = 3 if config.momentum else 2
    return _FLOAT_BYTES * (num_copies * num_parameters + config.batch_size * sum(config.layers[1:]))


def memory_bytes() -> int | None:
    """Return the memory that this process can have, in bytes, swap included; None if that cannot be found out."""
    try:
        lines = [line.split() for line in _MEMORY_INFO.read_text().splitlines()]
    except OSError:
        return None
    kibibytes = {words[0]: int(words[1]) for words in lines if len(words) > 1}
    if "MemTotal:" not in kibibytes:
        return None
    memory = min([kibibytes["MemTotal:"] * 2**10, *_limits()])
    return memory + kibibytes.get("SwapTotal:", 0) * 2**10


def _limits() -> Iterator[int]:
    """Yield the limits of the control groups that this process is in, as a container has them, in bytes."""
    for file in _limit_files():
        with suppress(OSError, ValueError):  # not there, or "max"
            yield int(file.read_text())


def _limit_files() -> Iterator[Path]:
    """Yield where limits may stand: for each group of this process and those around it, by both versions of cgroup."""
    try:
        lines = _GROUPS_OF_PROCESS.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        group = Path(path.lstrip("/"))
        for each in (group, *group.parents):
            if not controllers:
                yield _GROUPS / each / "memory.max"
            elif "memory" in controllers.split(","):
                yield _GROUPS / "memory" / each / "memory.limit_in_bytes"


def _gibibytes(num_bytes: int) -> str:
    return f"{num_bytes / 2**30:,.1f} GiB"
