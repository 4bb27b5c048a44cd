"""`backbeam` whose scheduled runs are a stand-in of no weight, told by the environment how to behave.

    python stand_in.py ARGUMENT...      the real command line; what it schedules is the next line
    python stand_in.py --child ARGUMENT...

A run notes its arguments and process in the folder STAND_IN, and how a signal ended it.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

PROMOTED = {"outcome": "promoted", "run_id": "run-1", "reasons": ["better by 0.5 points", "on 1,000 examples"]}


def run() -> None:
    from pipeline.child_process import end_with_parent
    from pipeline.scheduling.ward import GRACE_SECONDS

    folder = Path(os.environ["STAND_IN"])

    def end(number: int, _: object) -> None:
        (folder / "ended").write_text(str(number))
        sys.exit(128 + number)

    deaf = "STAND_IN_DEAF" in os.environ
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN if deaf else end)
    end_with_parent(GRACE_SECONDS)
    note = folder / ".begun"
    note.write_text(json.dumps({"pid": os.getpid(), "arguments": sys.argv[2:]}))
    note.rename(folder / "begun")
    time.sleep(float(os.environ.get("STAND_IN_SECONDS", "0")))
    code = int(os.environ.get("STAND_IN_CODE", "0"))
    if code < 0:
        os.kill(os.getpid(), -code)
    print(json.dumps(PROMOTED))  # noqa: T201 - as the real one does
    sys.exit(code)


if __name__ == "__main__":
    if sys.argv[1] == "--child":
        run()
    from pipeline.cli import main
    from pipeline.scheduling import child

    child.COMMAND_LINE = (sys.executable, str(Path(__file__).resolve()), "--child")
    main()
