"""How many classes a data set has, and what they are called."""

from collections.abc import Set

from model.errors import BadInput, BadUsage


def name_classes(own: tuple[str, ...] | None, labels: Set[int], num_classes: int | None, name: str) -> tuple[str, ...]:
    """Name the classes: as the source does, or by number, as many as were given or as the labels show without a gap.

    Args:
        own: the source's own names, if it has any.
        labels: that stand in the train split.
        num_classes: what the user says.
        name: what to call the source in an error.

    Raises:
        BadUsage: num_classes is not the number of the source's own names.
        BadInput: there is no label, or there is a gap and nobody says how many classes there are.
    """
    if own is not None:
        if num_classes not in (None, len(own)):
            raise BadUsage(f"--num-classes {num_classes}: {name} has its own classes, {len(own)} of them")
        return own
    if num_classes is None:
        _check_no_gap(labels, name)
    return tuple(map(str, range(num_classes or max(labels) + 1)))


def _check_no_gap(labels: Set[int], name: str) -> None:
    if not labels:
        raise BadInput(f"{name}: no example of the train split has a usable label")
    absent = [str(label) for label in range(max(labels)) if label not in labels]
    if absent:
        raise BadInput(
            f"{name}: labels go up to {max(labels)} but none is {', '.join(absent[:10])}"
            f"{' ...' if len(absent) > 10 else ''}; say how many classes there are with --num-classes"
        )
