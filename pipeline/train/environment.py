"""The environment of a run: what can decide its bits besides its data and its configuration."""

import os
import platform
import re
from pathlib import Path

import tensorflow as tf

from pipeline.processes import code_digest
from pipeline.train.run_record import Conditions, RunRecord

_PROCESSOR = re.compile(r"^model name\s*: (.+)$", re.MULTILINE)
_CPU_INFO = Path("/proc/cpuinfo")


def current_conditions() -> Conditions:
    """Return the conditions of this process; call it after compilation, which may set XLA_FLAGS."""
    return Conditions(
        code_digest=code_digest(),
        machine=_describe_machine(),
        num_processors=os.cpu_count() or 0,
        inter_op_threads=tf.config.threading.get_inter_op_parallelism_threads(),
        intra_op_threads=tf.config.threading.get_intra_op_parallelism_threads(),
        xla_flags=os.environ.get("XLA_FLAGS", ""),
    )


def compare_conditions(first: RunRecord, second: RunRecord) -> dict[str, tuple[str, str]]:
    """Return the conditions, versions and devices in which two runs differ, by name, with both values."""
    before, after = (
        run.versions | run.conditions.model_dump(mode="json") | {"device": run.device} for run in (first, second)
    )
    pairs = {name: (str(before.get(name, "")), str(after.get(name, ""))) for name in sorted({*before, *after})}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _describe_machine() -> str:
    match = _PROCESSOR.search(_CPU_INFO.read_text()) if _CPU_INFO.exists() else None
    return f"{platform.machine()}, {match[1]}" if match else platform.machine()
