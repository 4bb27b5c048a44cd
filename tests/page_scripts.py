"""The scripts of a documentation page: the indented blocks of its sections, and a shell that runs them."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from tests.helpers import BACKBEAM

BASH = str(shutil.which("bash"))
DOCS = Path(__file__).parents[1] / "docs"


def section_of(page: str, heading: str) -> str:
    """Return the text of a section of a page in docs/, without its heading; raises IndexError if there is none."""
    text = f"\n{(DOCS / page).read_text()}"
    return text.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def scripts_of(page: str, heading: str) -> list[str]:
    """Return the indented blocks of a section, in order."""
    blocks = re.findall(r"^(?: {4}.*\n)+", section_of(page, heading), re.MULTILINE)
    return [re.sub("^    ", "", block, flags=re.MULTILINE) for block in blocks]


def find_script(page: str, heading: str, words: str) -> str:
    """Return the only script of a section that contains the words."""
    [found] = [script for script in scripts_of(page, heading) if words in script]
    return found


def run_script(script: str, folder: Path, environment: dict[str, str] | None = None) -> str:
    """Run a script in a folder, `backbeam` in its PATH, and return what it prints; an error ends it and raises."""
    search = f"{BACKBEAM.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [BASH, "-e", "-c", script],
        cwd=folder,
        env=os.environ | {"PATH": search} | (environment or {}),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
    return done.stdout
