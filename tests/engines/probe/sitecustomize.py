"""Put first in PYTHONPATH by tests: every Python process then notes what it writes, and one may be made to die.

BACKBEAM_PROBE_WRITES names a file that gets the path of every file opened for writing, a line each.
BACKBEAM_PROBE_KILL names a file; the first worker of an engine that writes a file whose name contains that file's
content deletes it and kills itself.
"""

import os
import signal
import sys

WRITES, KILL = (os.environ.get(f"BACKBEAM_PROBE_{name}") for name in ("WRITES", "KILL"))
IS_WORKER = any("sdk_worker" in argument for argument in sys.orig_argv)


def _note(event, arguments):
    if event != "open" or not isinstance(arguments[0], str) or not arguments[2] & (os.O_WRONLY | os.O_RDWR):
        return
    path = os.path.abspath(arguments[0])  # noqa: PTH100 - this runs inside open(), and pathlib would be slow there
    if WRITES and path != WRITES:
        descriptor = os.open(WRITES, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, f"{path}\n".encode())
        os.close(descriptor)
    if KILL and IS_WORKER and path != KILL:
        _die_if_asked(path)


def _die_if_asked(path):
    try:
        with open(KILL) as stream:  # noqa: PTH123
            wanted = stream.read()
        if wanted in os.path.basename(path):  # noqa: PTH119
            os.unlink(KILL)  # noqa: PTH108 - only one worker can
            os.kill(os.getpid(), signal.SIGKILL)
    except FileNotFoundError:
        return


sys.addaudithook(_note)
