"""Put first in PYTHONPATH by tests: every Python process then notes what it writes, and one may be made to die.

BACKBEAM_PROBE_WRITES names a file that gets the path of every file opened for writing, a line each.
BACKBEAM_PROBE_KILL names a file; the first worker of an engine that writes a file whose name contains that file's
content deletes it and kills itself. BACKBEAM_PROBE_FAIL does the same in any process, but only makes that write fail.
"""

import os
import signal
import sys

WRITES, KILL, FAIL = (os.environ.get(f"BACKBEAM_PROBE_{name}") for name in ("WRITES", "KILL", "FAIL"))
IS_WORKER = any(
    name in argument for argument in sys.orig_argv for name in ("sdk_worker", "worker_server", "run_staged")
)


def _note(event, arguments):
    if event != "open" or not isinstance(arguments[0], str) or not arguments[2] & (os.O_WRONLY | os.O_RDWR):
        return
    path = os.path.abspath(arguments[0])  # noqa: PTH100 - this runs inside open(), and pathlib would be slow there
    if WRITES and path != WRITES:
        descriptor = os.open(WRITES, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, f"{path}\n".encode())
        os.close(descriptor)
    if KILL and IS_WORKER and _is_asked_for(KILL, path):
        os.kill(os.getpid(), signal.SIGKILL)
    if FAIL and _is_asked_for(FAIL, path):
        raise OSError("the probe lets this fail")


def _is_asked_for(request, path):
    """Whether a file names this path; true once, as the file is then deleted."""
    if path == request:
        return False
    try:
        with open(request) as stream:  # noqa: PTH123
            wanted = stream.read()
        if wanted in os.path.basename(path):  # noqa: PTH119
            os.unlink(request)  # noqa: PTH108 - only one process can
            return True
    except FileNotFoundError:
        pass
    return False


sys.addaudithook(_note)
