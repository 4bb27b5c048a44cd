"""The real command, where every engine validates and verifies little as well, which is else done by one process.

`python -m tests.engines.small_jobs ARGUMENTS`
"""

from collections.abc import Sequence

from pipeline.cli.main import main
from pipeline.preprocess import scan_runner, stage


def has_engine(arguments: Sequence[str], _num_bytes: int) -> bool:
    """Return whether there are arguments for Beam."""
    return bool(arguments)


if __name__ == "__main__":
    stage.pays_workers = has_engine
    scan_runner.pays_workers = has_engine
    main()
