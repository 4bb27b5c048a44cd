"""Which slicings an evaluation has: those of `slices.SLICINGS`, and those that a user names as MODULE:NAME."""

import importlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from model.errors import BadUsage
from model.recipes import shown
from pipeline.evaluate.records import EVALUATION_NAME, EvaluationRecord
from pipeline.evaluate.slices import SLICINGS, Slicing
from pipeline.storage.places import Place

# By name; text is the place of a function or a Slicing, MODULE:NAME, which is imported where it is used.
Slicings: TypeAlias = Mapping[str, Slicing | str]

MOST_PLACE = 300  # characters of MODULE:FUNCTION
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,49}")
_PLACE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def resolve_slicings(table: Mapping[str, Any], options: Iterable[str]) -> Slicings:
    """Work out the slicings of an evaluation.

    Args:
        table: what the configuration says below [slices]: MODULE:NAME by name.
        options: NAME=MODULE:NAME each; they go over the table.

    Returns:
        the built-in ones and those that were named, in the order of their names.

    Raises:
        BadUsage: one has an unusable name, or its function cannot be imported.
    """
    named: dict[str, Any] = dict(table)
    for option in options:
        name, _, place = option.partition("=")
        named[name] = place
    for name, place in named.items():
        _check(name, place)
        load_slicing(name, place)
    return order_slicings(named)


def order_slicings(slicings: Mapping[str, str]) -> Slicings:
    """Return slicings in the order of the table's rows: the built-in ones, whether named or not, the user's by name."""
    return SLICINGS | {name: place for name, place in sorted(slicings.items()) if name not in SLICINGS}


def load_slicing(name: str, slicing: Slicing | str) -> Slicing:
    """Return a slicing, imported if it is named.

    Raises:
        BadUsage: it cannot be imported, or is neither a function nor a Slicing.
    """
    if isinstance(slicing, Slicing):
        return slicing
    module, _, attribute = slicing.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except Exception as problem:  # a user's module raises what it likes
        raise BadUsage(
            f"slicing {name} ({slicing}) cannot be imported: {type(problem).__name__}: {problem}; install the "
            "module, or name its folder in PYTHONPATH, wherever Beam works"
        ) from problem
    if not isinstance(found, Slicing) and not callable(found):
        raise BadUsage(f"slicing {name} ({slicing}) is neither a function nor a backbeam.slices.Slicing")
    return found if isinstance(found, Slicing) else Slicing(found)


def describe_slicings(slicings: Slicings) -> dict[str, str]:
    """Return what a record says of each slicing, by name.

    That is MODULE:NAME for a slicing of the user's. A built-in slicing is recorded by its name alone, so that records
    stay valid when modules of backbeam move.
    """
    return {name: _describe(name, each) for name, each in slicings.items()}


def check_recorded(record: EvaluationRecord, slicings: Slicings, run_folder: Place) -> None:
    """Check that a complete evaluation has the slicings that are asked for; raises BadUsage."""
    for name, place in describe_slicings(slicings).items():
        found = record.slicings.get(name)
        if name in SLICINGS and name in record.slicings:
            found = name  # records written before 0.3 give a module of backbeam; no user's slicing can have this name
        if found != place:
            without = f"with another slicing {name} ({found})" if found else f"without the slicing {name}"
            raise BadUsage(
                f"{record.run_id} was evaluated {without}: delete {run_folder / EVALUATION_NAME} to evaluate it again, "
                f"or leave {name} out"
            )


def _check(name: str, place: Any) -> None:
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
    if slicing is SLICINGS.get(name):
        return name
    function = slicing.keys
    return f"{function.__module__}:{getattr(function, '__qualname__', type(function).__qualname__)}"
