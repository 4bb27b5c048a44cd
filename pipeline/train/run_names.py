"""Names of runs: which are allowed, which runs of a workspace have one, and how a complete run gets another."""

import re
from collections.abc import Mapping, Sequence
from typing import get_args

from model.errors import BadUsage, CorruptArtefact
from model.recipes import RECIPES, Step, TrainingConfig, shown
from pipeline.progress import show_message
from pipeline.storage.files import list_folders_with, write_atomically
from pipeline.storage.places import Place
from pipeline.train.run_record import NAME_PATTERN, RUN_NAME, RunRecord, load_run

MOST_CHARACTERS = 64
CHAMPION = "champion"  # each of these words stands for a run on the command line
LATEST = "latest"
BEST = "best"
_RESERVED = (BEST, CHAMPION, LATEST, "none")  # a policy's reference may be none
_ID_STEMS = [f"{recipe}{step}-seed" for recipe in RECIPES for step in ("", *(f"-{step}" for step in get_args(Step)))]


def check_name(name: str) -> str:
    """Return a name for a run; raises BadUsage if it has other characters than a path may, or is taken for another run.

    No name begins as an id does, or is the beginning of one, so that RUN is either a name or an id.
    """
    if not re.fullmatch(NAME_PATTERN, name) or len(name) > MOST_CHARACTERS:
        raise BadUsage(
            f"--name {shown(name)}: expected at most {MOST_CHARACTERS} letters, digits, '.', '_' and '-', the first a "
            "letter or digit"
        )
    if name.casefold() in _RESERVED:
        raise BadUsage(f"--name {name}: where a run is asked for, the word has a meaning of its own: give another name")
    stem = next((stem for stem in _ID_STEMS if stem.startswith(name) or name.startswith(stem)), None)
    if stem:
        raise BadUsage(f"--name {name}: it would be taken for a run's id, which begins {stem}: give another name")
    return name


def name_runs(name: str | None, configs: Sequence[TrainingConfig], by_seed: bool) -> tuple[str, ...]:
    """Return a name for each of the runs of a command: with --seeds, the name and the run's seed; () without a name.

    Raises BadUsage as `check_name`.
    """
    if name is None:
        return ()
    return tuple(check_name(f"{name}-{config.seed}" if by_seed else name) for config in configs)


def find_named(workspace: Place, name: str) -> list[str]:
    """Return the ids of the complete runs of a name; raises CorruptArtefact if none has it and a record is corrupt."""
    found: list[str] = []
    problems: list[CorruptArtefact] = []
    for folder in list_folders_with(workspace / "runs", RUN_NAME):
        try:
            if load_run(folder).name == name:
                found.append(folder.name)
        except CorruptArtefact as problem:
            problems.append(problem)
    if problems and not found:
        raise problems[0]
    return found


def check_names_are_free(workspace: Place, names: Mapping[str, str]) -> None:
    """Check that no other complete run has one of the names, given by the ids of the runs that are to have them.

    Raises BadUsage if one has.
    """
    for run_id, name in names.items():
        others = [other for other in find_named(workspace, name) if other != run_id]
        if others:
            raise BadUsage(f"--name {name}: {others[0]} has this name: give another, or train that run under another")


def rename_run(workspace: Place, run: RunRecord, name: str | None) -> RunRecord:
    """Give a complete run a name, which may replace an earlier one; None keeps what it has. Return the run's record."""
    if name in (None, run.name):
        return run
    renamed = run.model_copy(update={"name": name})
    write_atomically(workspace / "runs" / run.run_id / RUN_NAME, renamed.to_json())
    show_message(f"train: {run.run_id} is named {name} now" + (f", no longer {run.name}" if run.name else ""))
    return renamed
