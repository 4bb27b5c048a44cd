"""Estimate the memory that training or a gradient check needs and compare it with what this machine has.

The check comes before any work, because Linux kills a process that runs out of memory without a message.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from model.errors import BadUsage
from model.recipes import TrainingConfig

GRADIENT_CHECK_EXAMPLES = 10  # as model.gradcheck.BATCH_SIZE, which cannot be imported without TensorFlow
_FLOAT_BYTES = 4  # float32
_DOUBLE_BYTES = 8  # float64
_MEMORY_INFO = Path("/proc/meminfo")
_PROCESS_CGROUPS = Path("/proc/self/cgroup")
_CGROUPS = Path("/sys/fs/cgroup")
_DEVICE_FILES = Path("/dev")


def check_memory(config: TrainingConfig, device: str) -> None:
    """Raise BadUsage if a network does not fit the memory; `device` is as for `model.devices.choose_devices`.

    The estimate is a lower bound, so nothing that could work is refused. A system that does not tell its memory passes.
    """
    # TensorFlow is not imported yet, so whether "auto" means a GPU is guessed from the driver's device files.
    on_cpu = device == "cpu" or (device == "auto" and not any(_DEVICE_FILES.glob("nvidia[0-9]*")))
    layers = "-".join(map(str, config.layers))
    subject = f"layers {layers} with batches of {config.batch_size:,} need"
    _compare(needed_bytes(config, on_cpu), subject, "choose smaller layers or batches")


def check_gradient_check_memory(config: TrainingConfig) -> None:
    """Raise BadUsage if the gradient check of a network does not fit the memory."""
    subject = f"a gradient check of layers {'-'.join(map(str, config.layers))} needs"
    _compare(gradient_check_bytes(config), subject, "choose smaller layers")


def _compare(needed: int, subject: str, remedy: str) -> None:
    available = memory_bytes()
    if available is not None and needed > available:
        sizes = [f"{num_bytes / 2**30:,.1f} GiB" for num_bytes in (needed, available)]
        raise BadUsage(f"{subject} {sizes[0]} of memory or more, and this machine has {sizes[1]}: {remedy}")


def needed_bytes(config: TrainingConfig, on_cpu: bool) -> int:
    """Return a lower bound of the memory that training takes on this machine, in bytes.

    Counted are the parameters, the images of one batch and, on the CPU, the gradients, the velocity of momentum and the
    values of every layer for one batch, for each network of a stack.
    """
    image_bytes = config.batch_size * config.layers[0]  # uint8; on the CPU even if training is on a GPU
    num_parameters = sum(_parameter_counts(config))
    if not on_cpu:
        return config.stack * (image_bytes + _FLOAT_BYTES * num_parameters)
    num_copies = 3 if config.momentum else 2
    num_values = config.batch_size * sum(config.layers[1:])
    return config.stack * (image_bytes + _FLOAT_BYTES * (num_copies * num_parameters + num_values))


def gradient_check_bytes(config: TrainingConfig) -> int:
    """Return a lower bound of the memory that `model.gradcheck.check_gradients` takes, in bytes.

    It works in float64 on the CPU. Counted are the parameters, their manual gradients and those of autodiff, a copy of
    the largest layer's weights, of which a central difference moves one number, and the values of every layer.
    """
    largest_weights = max(inputs * outputs for inputs, outputs in pairwise(config.layers))
    num_values = GRADIENT_CHECK_EXAMPLES * sum(config.layers)
    return _DOUBLE_BYTES * (3 * sum(_parameter_counts(config)) + largest_weights + num_values)


def _parameter_counts(config: TrainingConfig) -> Iterator[int]:
    return ((inputs + 1) * outputs for inputs, outputs in pairwise(config.layers))


def memory_bytes() -> int | None:
    """Return the memory available to this process in bytes, swap included; None if the system does not tell."""
    try:
        lines = [line.split() for line in _MEMORY_INFO.read_text().splitlines()]
    except OSError:
        return _physical_bytes()  # not Linux, or /proc is not mounted
    kibibytes = {words[0]: int(words[1]) for words in lines if len(words) > 1}
    if "MemTotal:" not in kibibytes:
        return _physical_bytes()
    memory = kibibytes["MemTotal:"] * 2**10
    for file in _limit_files():
        with suppress(OSError, ValueError):  # the file is missing, or holds "max"
            memory = min(memory, int(file.read_text()))
    return memory + kibibytes.get("SwapTotal:", 0) * 2**10


def _physical_bytes() -> int | None:
    """Return the machine's memory as POSIX systems tell it, without swap; None if this one does not."""
    try:
        num_pages = os.sysconf("SC_PHYS_PAGES")
        page_bytes = os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # no sysconf, or it does not know the names
        return None
    return num_pages * page_bytes if min(num_pages, page_bytes) > 0 else None  # -1: indeterminate


def _limit_files() -> Iterator[Path]:
    """Yield the files with the limits of this process's control groups, such as a container's, and their parents."""
    try:
        lines = _PROCESS_CGROUPS.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        group = Path(path.lstrip("/"))
        for path_of_group in (group, *group.parents):
            if not controllers:  # version 2
                yield _CGROUPS / path_of_group / "memory.max"
            elif "memory" in controllers.split(","):
                yield _CGROUPS / "memory" / path_of_group / "memory.limit_in_bytes"
