"""The command line of `backbeam`, but scheduled runs are a light fake that environment variables control.

    python fake_retrain.py ARGUMENT...          the command line
    python fake_retrain.py --child ARGUMENT...  a scheduled run

A run writes its arguments and process id to the file `started` in the folder FAKE_FOLDER, and the signal that ended it
to `ended`. It works for FAKE_SECONDS and exits with FAKE_CODE; with FAKE_DEAF it ignores signals.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

PROMOTED = {"outcome": "promoted", "run_id": "run-1", "reasons": ["better by 0.5 points", "on 1,000 examples"]}


def run() -> None:
    from pipeline.cli.scheduled_run import GRACE_SECONDS
    from pipeline.processes import end_with_parent

    folder = Path(os.environ["FAKE_FOLDER"])

    def end(number: int, _: object) -> None:
        (folder / "ended").write_text(str(number))
        sys.exit(128 + number)

    ignores_signals = "FAKE_DEAF" in os.environ
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN if ignores_signals else end)
    end_with_parent(GRACE_SECONDS)
    note = folder / ".started"
    note.write_text(json.dumps({"pid": os.getpid(), "arguments": sys.argv[2:]}))
    note.rename(folder / "started")
    time.sleep(float(os.environ.get("FAKE_SECONDS", "0")))
    code = int(os.environ.get("FAKE_CODE", "0"))
    if code < 0:
        os.kill(os.getpid(), -code)
    print(json.dumps(PROMOTED))  # noqa: T201 - as the real one does
    sys.exit(code)


if __name__ == "__main__":
    if sys.argv[1] == "--child":
        run()
    from pipeline.cli import schedule_command
    from pipeline.cli.main import main

    schedule_command.COMMAND = (sys.executable, str(Path(__file__).resolve()), "--child")
    main()
