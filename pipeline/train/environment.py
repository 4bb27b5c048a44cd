"""The conditions of a run: what besides its data and its configuration can decide its bits, as things are now."""

import os
import platform
import re
from pathlib import Path

import tensorflow as tf

from pipeline.code_version import code_digest
from pipeline.train.run_record import Conditions, RunRecord

_PROCESSOR = re.compile(r"^model name\s*: (.+)$", re.MULTILINE)
_SYSTEM_SAYS = Path("/proc/cpuinfo")


def current_conditions() -> Conditions:
    """Return the conditions of this process, once what it trains is compiled."""
    return Conditions(
        code_digest=code_digest(),
        machine=_machine(),
        num_processors=os.cpu_count() or 0,
        inter_op_threads=tf.config.threading.get_inter_op_parallelism_threads(),
        intra_op_threads=tf.config.threading.get_intra_op_parallelism_threads(),
        xla_flags=os.environ.get("XLA_FLAGS", ""),
    )


def differing(one: RunRecord, other: RunRecord) -> dict[str, tuple[str, str]]:
    """Return every recorded condition in which two runs differ, with its value in each."""
    first, second = _flat(one), _flat(other)
    names = sorted({*first, *second})
    pairs = {name: (first.get(name, ""), second.get(name, "")) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _flat(run: RunRecord) -> dict[str, str]:
    values = run.conditions.model_dump(mode="json") | {"device": run.device}
    return {name: str(value) for name, value in (run.versions | values).items()}


def _machine() -> str:
    found = _PROCESSOR.search(_SYSTEM_SAYS.read_text()) if _SYSTEM_SAYS.exists() else None
    return f"{platform.machine()}, {found[1]}" if found else platform.machine()
