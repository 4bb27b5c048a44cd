"""What Dataflow's launcher runs: `backbeam preprocess` with the template's parameters, and the rest for Beam.

The launcher gives every parameter, and every option of the job, as --name=value. Those that metadata.json lists are
backbeam's; all others, such as --runner, --project and --template_location, go to Beam after --.
"""

import json
import os
import sys
from pathlib import Path

METADATA = Path(__file__).with_name("metadata.json")


def command(arguments: list[str]) -> list[str]:
    """Return the command for the launcher's arguments."""
    parameters = {f"--{each['name']}" for each in json.loads(METADATA.read_text("utf-8"))["parameters"]}
    own = [each for each in arguments if each.split("=")[0] in parameters]
    beam = [each for each in arguments if each not in own]
    return ["backbeam", "preprocess", *map(_as_option, own), "--", *beam]


def _as_option(argument: str) -> str:
    """Spell a parameter as backbeam spells its options."""
    name, _, value = argument.partition("=")
    return f"{name.replace('_', '-')}={value}"


if __name__ == "__main__":
    found = command(sys.argv[1:])
    os.execvp(found[0], found)  # noqa: S606 - no shell is wanted, and no child that would hide signals from it
