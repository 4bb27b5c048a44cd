"""Names and number of a data set's classes."""

from collections.abc import Set

from model.errors import BadInput, BadUsage


def choose_class_names(
    source_names: tuple[str, ...] | None, labels: Set[int], num_classes: int | None, name: str
) -> tuple[str, ...]:
    """Return the names that a source gives its classes, else the numbers 0 .. num_classes - 1 as text.

    num_classes is what the user states, by default the largest of the labels of the train split plus one.

    Raises:
        BadUsage: num_classes is not the number of source_names.
        BadInput: num_classes is needed but not given: there are no labels, or some number below the largest is unused.
    """
    if source_names is not None:
        if num_classes not in (None, len(source_names)):
            raise BadUsage(f"--num-classes {num_classes}: {name} has its own classes, {len(source_names)} of them")
        return source_names
    return tuple(map(str, range(num_classes or _count_classes(labels, name))))


def _count_classes(labels: Set[int], name: str) -> int:
    if not labels:
        raise BadInput(f"{name}: no example of the train split has a usable label")
    unused = [str(label) for label in range(max(labels)) if label not in labels]
    if unused:
        raise BadInput(
            f"{name}: labels go up to {max(labels)} but none is {', '.join(unused[:10])}"
            f"{' ...' if len(unused) > 10 else ''}; say how many classes there are with --num-classes"
        )
    return max(labels) + 1
