"""A process that may take 512 MiB more memory than a sound input takes.

    python -m tests.fuzz.bounded TARGET SOUND HOSTILE

reads the sound file with a target, bounds its own address space, and reads the hostile one.
"""

import re
import resource
import sys
from pathlib import Path

SEEDS = Path(__file__).parent / "seeds"
SPARE_BYTES = 2**29


def cap_memory() -> None:
    found = re.search(r"^VmPeak:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    most = int(found[1]) * 1024 + SPARE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def main() -> None:
    from tests.fuzz.targets import TARGETS

    name, sound, hostile = sys.argv[1:]
    TARGETS[name](Path(sound).read_bytes())
    data = Path(hostile).read_bytes()
    cap_memory()
    TARGETS[name](data)


if __name__ == "__main__":
    main()
