"""Labels as files store them, numbers or text, and the classes that they stand for.

If all labels of the train split are whole numbers, they are the numbers of classes. Otherwise each label is the name of
a class; the names are in the order of numbers, then of text.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

from model.errors import BadInput
from pipeline.sources.blocks import ClassCount, choose_class_names
from pipeline.sources.catalog import MAX_CLASSES

Label: TypeAlias = int | float | str | None  # a float is a number but no whole one; None: there is no label

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?|[+-]?inf|nan", re.IGNORECASE)
_MAX_SHOWN = 60  # characters of a label in a message


def read_label(stored: object) -> Label:
    """Return a label as a whole number if it is one, as 3, 3.0, "3" and "3.0" are, else as text without blanks."""
    if isinstance(stored, str):
        text = stored.strip()
        if _INTEGER.fullmatch(text):
            return int(text)
        return read_label(float(text)) if _NUMBER.fullmatch(text) else text or None
    if isinstance(stored, float):
        return int(stored) if stored.is_integer() and abs(stored) < 2**63 else stored
    return int(stored) if isinstance(stored, int) else None


class CodedLabel(NamedTuple):
    """The number of a class, or None and why there is none."""

    number: int | None
    fault: str = ""


class LabelCodes(NamedTuple):
    """The numbers of labels; names are those of the classes if labels are names, or None if labels are numbers."""

    names: tuple[str, ...] | None = None

    def encode(self, labels: Iterable[Label]) -> list[CodedLabel]:
        """Return the numbers of labels; a number may be that of no class."""
        numbers = {name: CodedLabel(number) for number, name in enumerate(self.names or ())}
        return [self._encode(label, numbers) for label in labels]

    def _encode(self, label: Label, numbers: dict[str, CodedLabel]) -> CodedLabel:
        if label is None:
            return CodedLabel(None, "there is no label")
        if isinstance(label, float):
            return CodedLabel(None, f"the label {label} is no whole number")
        if self.names is None and isinstance(label, int):
            return CodedLabel(label)
        unknown = CodedLabel(None, f"the label {str(label)[:_MAX_SHOWN]!r} is of no class of the train split")
        return numbers.get(str(label), unknown)


NUMBERS = LabelCodes()


class LabelSet:
    """The different labels of the train split."""

    def __init__(self) -> None:
        self.numbers = set[int]()  # those that may be numbers of classes
        self._others = dict[int | str, None]()  # in their order, so that it does not matter who finds them

    def update(self, labels: Iterable[Label]) -> None:
        """Add labels; those that are missing or no whole numbers are ignored."""
        for label in dict.fromkeys(labels):
            if isinstance(label, int) and 0 <= label < MAX_CLASSES:
                self.numbers.add(label)
            elif isinstance(label, int | str) and len(self._others) <= MAX_CLASSES:
                self._others[label] = None

    @property
    def found(self) -> tuple[int | str, ...]:
        """The labels, for the update of another set."""
        return (*sorted(self.numbers), *self._others)

    def codes(self, name: str) -> LabelCodes:
        """Return how the labels are encoded; raises BadInput if more than MAX_CLASSES are names."""
        texts = [label for label in self._others if isinstance(label, str)]
        if not texts:
            return NUMBERS
        if len(self.numbers) + len(self._others) > MAX_CLASSES:
            raise BadInput(
                f"{name}: more than {MAX_CLASSES} different labels, such as {min(texts)[:_MAX_SHOWN]!r}: if another "
                "column holds the labels, name it with --label-column"
            )
        numbers = sorted([*self.numbers, *(label for label in self._others if isinstance(label, int))])
        return LabelCodes((*map(str, numbers), *sorted(texts)))

    def class_names(
        self, codes: LabelCodes, num_classes: ClassCount, name: str, first_label: int = 0
    ) -> tuple[str, ...]:
        """Return the names of the classes; raises as `choose_class_names`."""
        return choose_class_names(codes.names, self.numbers, num_classes, name, first_label)
