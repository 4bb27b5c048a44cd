"""The real command, which lets an engine's workers validate and verify little, as they do much.

`python -m tests.engines.small_jobs ARGUMENTS`
"""

from pipeline.cli.main import main
from pipeline.sources import scan_tasks

if __name__ == "__main__":
    scan_tasks.MANY_BYTES = 0
    main()
