"""The slicings of an evaluation: the built-in ones of `slices.SLICINGS`, and a user's, named as MODULE:NAME."""

import importlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from model.errors import BadUsage
from model.recipes import shown
from pipeline.evaluate.evaluation_record import EVALUATION_NAME, EvaluationRecord
from pipeline.evaluate.slices import SLICINGS, Slicing
from pipeline.storage.places import Place

# By name. A string is MODULE:NAME of a function or a Slicing; every process that uses it imports it.
Slicings: TypeAlias = Mapping[str, Slicing | str]

MOST_PLACE = 300  # characters of MODULE:NAME
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,49}")
_PLACE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def resolve_slicings(table: Mapping[str, Any], options: Iterable[str]) -> Slicings:
    """Return the built-in slicings, then the user's sorted by name.

    The table [slices] of the configuration gives MODULE:NAME by name; options, NAME=MODULE:NAME each, override it.
    Raises BadUsage if a name is not allowed, or a function cannot be imported.
    """
    named = dict(table)
    for option in options:
        name, _, place = option.partition("=")
        named[name] = place
    for name, place in named.items():
        _check_entry(name, place)
        load_slicing(name, place)
    return order_slicings(named)


def order_slicings(slicings: Mapping[str, str]) -> Slicings:
    """Return all built-in slicings, then the user's sorted by name: the order of the rows of the table `slices`."""
    return SLICINGS | {name: place for name, place in sorted(slicings.items()) if name not in SLICINGS}


def load_slicing(name: str, slicing: Slicing | str) -> Slicing:
    """Return a slicing, imported if it is given as MODULE:NAME; raises BadUsage if it cannot be, or is no slicing."""
    if isinstance(slicing, Slicing):
        return slicing
    module, _, attribute = slicing.partition(":")
    try:
        imported = getattr(importlib.import_module(module), attribute)
    except Exception as problem:  # a user's module may raise anything
        raise BadUsage(
            f"slicing {name} ({slicing}) cannot be imported: {type(problem).__name__}: {problem}; install the "
            "module, or name its folder in PYTHONPATH, wherever Beam works"
        ) from problem
    if isinstance(imported, Slicing):
        return imported
    if not callable(imported):
        raise BadUsage(f"slicing {name} ({slicing}) is neither a function nor a backbeam.slices.Slicing")
    return Slicing(imported)


def describe_slicings(slicings: Slicings) -> dict[str, str]:
    """Return how each slicing is recorded, by name: a user's as MODULE:NAME, a built-in one by its name alone.

    So records stay valid when modules of backbeam move.
    """
    return {name: _describe(name, slicing) for name, slicing in slicings.items()}


def find_new_slicings(record: EvaluationRecord, slicings: Slicings, run_folder: Place) -> Slicings:
    """Return the slicings that a complete evaluation lacks; raises BadUsage if it has another one of a name."""
    new = {}
    for name, place in describe_slicings(slicings).items():
        recorded = record.slicings.get(name)
        if recorded and name in SLICINGS:
            recorded = name  # earlier versions record a module of backbeam; no user's slicing can have this name
        if recorded is None:
            new[name] = slicings[name]
        elif recorded != place:
            raise BadUsage(
                f"{record.run_id} was evaluated with another slicing {name} ({recorded}): give this one another name, "
                f"or delete {run_folder / EVALUATION_NAME} to evaluate the run again"
            )
    return new


def _check_entry(name: str, place: Any) -> None:
    if not _NAME.fullmatch(name) or name in SLICINGS:
        taken = f"; {', '.join(SLICINGS)} are there already" if name in SLICINGS else ""
        raise BadUsage(
            f"a slicing has a name of its own of letters a to z, digits, - and _; found {shown(name)}{taken}"
        )
    if not isinstance(place, str) or len(place) > MOST_PLACE or not _PLACE.fullmatch(place):
        raise BadUsage(f"slicing {name}: expected MODULE:FUNCTION, such as my_slices:thin; found {shown(place)}")


def _describe(name: str, slicing: Slicing | str) -> str:
    if isinstance(slicing, str):
        return slicing
    if slicing == SLICINGS.get(name):
        return name
    function = slicing.keys
    return f"{function.__module__}:{getattr(function, '__qualname__', type(function).__qualname__)}"
