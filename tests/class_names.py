"""No class name has two meanings: `make lint` fails where `pipeline` and `model` define one twice.

python -m tests.class_names
"""

import ast
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SAME_THING: frozenset[str] = frozenset()  # names that two classes may share because they are the same thing


def find_repeated(files: Iterable[Path]) -> dict[str, list[str]]:
    """Return the places, FILE:LINE, of each class name that is defined more than once; underscores do not count."""
    places = defaultdict(list)
    for file in files:
        for name, line in _classes_in(file):
            places[name.lstrip("_")].append(f"{file}:{line}")
    return {name: found for name, found in sorted(places.items()) if len(found) > 1 and name not in SAME_THING}


def _classes_in(file: Path) -> Iterator[tuple[str, int]]:
    tree = ast.parse(file.read_text("utf-8"))
    return ((node.name, node.lineno) for node in ast.walk(tree) if isinstance(node, ast.ClassDef))


if __name__ == "__main__":
    repeated = find_repeated(file for folder in ("pipeline", "model") for file in sorted((ROOT / folder).rglob("*.py")))
    for name, found in repeated.items():
        sys.stderr.write(f"class {name} is defined {len(found)} times: {', '.join(found)}\n")
    sys.exit(bool(repeated))
