"""What tests of deploy/ share: its files, read, and backbeam's own lists of exit codes and options."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from typer.main import get_command

from model import errors
from pipeline.cli.main import app

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
CONFIGURATION = DEPLOY / "backbeam.toml"
IN_IMAGE = "/etc/backbeam/backbeam.toml"

# Exit codes that no error of model/errors.py has: something differs, interrupted, terminated.
DIFFERS, TOLD_TO_STOP = 1, {130, 143}
WORTH_A_RETRY = {kind.exit_code for kind in (errors.StorageFailed, errors.Locked, errors.EngineFailed)}
HOPELESS = {DIFFERS} | {
    kind.exit_code for kind in (errors.BadUsage, errors.BadInput, errors.CorruptArtefact, errors.UnknownFormat)
}


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


def kustomize(folder: Path) -> list[dict[str, Any]]:
    """The manifests that kustomize builds from a folder; skips the test where there is no kubectl, which has it."""
    kubectl = shutil.which("kubectl")
    if not kubectl:
        pytest.skip("needs kubectl, which has kustomize")
    done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return list(yaml.safe_load_all(done.stdout))


def read_environment(file: Path) -> dict[str, str]:
    """The variables of a file that systemd and kustomize read."""
    lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def unit_commands(text: str) -> list[list[str]]:
    """The words of each ExecStart of a systemd unit that is not empty, after the program."""
    return [line.split()[1:] for line in re.findall(r"^ExecStart=(.+)$", text, re.MULTILINE)]


def options(name: str) -> dict[str, click.Parameter]:
    command = get_command(app).commands[name]
    return {spelling: option for option in command.params for spelling in option.opts}


def check_command(words: list[str]) -> None:
    """Check that backbeam takes the options of a command line; `words` begin after `backbeam`."""
    name, *rest = words[: words.index("--")] if "--" in words else words
    assert name in get_command(app).commands, f"no such command: {name}"
    known = options(name)
    for word in rest:
        if word.startswith("-"):
            spelling, _, value = word.partition("=")
            assert spelling in known, f"{name} has no option {spelling}"
            assert not (value and known[spelling].is_flag), f"{spelling} takes no value"


def check_beam_options(words: list[str]) -> None:
    from apache_beam.options.pipeline_options import PipelineOptions

    given = PipelineOptions(words[words.index("--") + 1 :])
    unknown = set(given.get_all_options(retain_unknown_options=True)) - set(given.get_all_options())
    assert not unknown, f"Beam does not know {unknown}"


def shown_commands(page: Path) -> list[list[str]]:
    """Every `backbeam ...` of a page's code blocks and inline code, as words after `backbeam`."""
    text = page.read_text()
    blocks = re.findall(r"^    (.*(?:\n {4}.*)*)", text, re.MULTILINE) + re.findall(
        r"```\w*\n(.*?)```", text, re.DOTALL
    )
    inline = re.findall(r"(?<!`)`(backbeam [^`\n]+)`(?!`)", text)
    lines = [line for block in blocks for line in re.sub(r"\\\n\s*", " ", block).splitlines()]
    words = [shlex.split(line, comments=True) for line in [*lines, *inline] if "backbeam" in line]
    found = [
        part[part.index(each) + 1 :]
        for part in words
        for each in part
        if each == "backbeam" or each.endswith("bin/backbeam")
    ]
    return [each for each in found if each and re.fullmatch(r"[a-z]+", each[0])]
