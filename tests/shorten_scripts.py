"""Shorten the modules of the report's pages into `report/templates/minified`: `python -m tests.shorten_scripts`.

Each file there is a module without its imports and its `export`, as a page that is a single file cannot import others.
A module defines one constant of its own name, so that names do not collide; esbuild shortens all others.
"""

import re
import subprocess
import sys
from pathlib import Path

from pipeline.report.html import CURVE_SCRIPTS, INDEX_SCRIPTS, SCRIPTS

ALL = tuple(dict.fromkeys((*SCRIPTS, *CURVE_SCRIPTS, *INDEX_SCRIPTS)))
MODULES = Path(__file__).parents[1] / "pipeline" / "report" / "templates"
MINIFIED = MODULES / "minified"
ESBUILD = Path(sys.prefix) / "esbuild" / "node_modules" / ".bin" / "esbuild"
MISSING = "needs esbuild, which `make esbuild` installs where there is npm"


def main() -> None:
    if not ESBUILD.exists():
        sys.exit(MISSING)
    MINIFIED.mkdir(exist_ok=True)
    shortened = {
        name: shorten(name) for name in ALL
    }  # all of them first: a mistake in one leaves the files as they were
    for name, script in shortened.items():
        (MINIFIED / name).write_text(script, "utf-8")
    for path in MINIFIED.iterdir():
        if path.name not in shortened:
            path.unlink()


def shorten(name: str) -> str:
    module = re.sub(r"^import .*\n|^export ", "", (MODULES / name).read_text("utf-8"), flags=re.MULTILINE)
    command = [ESBUILD, "--minify", "--charset=utf8"]
    return subprocess.run(command, input=module, capture_output=True, text=True, encoding="utf-8", check=True).stdout


if __name__ == "__main__":
    main()
