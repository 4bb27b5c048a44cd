"""Text that others chose, made fit to be printed: a name may not steer a terminal or turn the direction of writing."""

import re

_STEERING = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_INSTEAD = "\N{REPLACEMENT CHARACTER}"


def harmless(text: str) -> str:
    """Return text of any number of lines without what would steer."""
    return _STEERING.sub(_INSTEAD, text)


def one_line(text: str) -> str:
    """Return text as one harmless line."""
    return harmless(text).replace("\n", _INSTEAD)
