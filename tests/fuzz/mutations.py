"""How sound samples are spoilt: bytes flipped, cut, repeated, made into large numbers; values of JSON replaced."""

import json
from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

MOST_CHANGES = 4
NUMBERS = [0, 1, -1, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**60, 2**63 - 1, 2**64 - 1]
NAMES = ["", ".", "..", "../x", "a/../../x", "/etc/passwd", "a/b", "a\\b", "a\0b", "a\nb", "\ud800", "~", "x" * 300]
VALUES: list[Any] = [
    *(None, True, [], {}, [[]], {"": {}}, 10**400, -(10**400), float("nan"), float("inf"), 1e308, -0.0),
    *NUMBERS,
    *NAMES,
]
PLANTED = [b"\x1f\x8b", b"\x89PNG\r\n\x1a\n", b"PAR1", b"[" * 2000, b'{"a":' * 2000, b"\0" * 64, b"\xff" * 64]


@st.composite
def spoilt(draw: st.DrawFn, samples: list[bytes]) -> bytes:
    data = draw(st.sampled_from(samples))
    for _ in range(draw(st.integers(1, MOST_CHANGES))):
        data = draw(st.sampled_from(CHANGES))(draw, data, samples)
    return data


def _place(draw: st.DrawFn, data: bytes) -> int:
    """Draw a position, those near both ends, where headers and footers are, more often."""
    end = len(data)
    return draw(st.integers(0, min(64, end)) | st.integers(max(0, end - 64), end) | st.integers(0, end))


def _flip(draw: st.DrawFn, data: bytes, _: list[bytes]) -> bytes:
    place = _place(draw, data)
    return (
        data[:place] + bytes([byte ^ draw(st.integers(1, 255)) for byte in data[place : place + 1]]) + data[place + 1 :]
    )


def _truncate(draw: st.DrawFn, data: bytes, _: list[bytes]) -> bytes:
    return data[: _place(draw, data)]


def _extend(draw: st.DrawFn, data: bytes, _: list[bytes]) -> bytes:
    return data + draw(st.binary(max_size=32) | st.just(data))


def _splice(draw: st.DrawFn, data: bytes, samples: list[bytes]) -> bytes:
    other = draw(st.sampled_from(samples))
    start = _place(draw, other)
    place = _place(draw, data)
    return data[:place] + other[start : start + draw(st.integers(1, 256))] + data[place:]


def _enlarge(draw: st.DrawFn, data: bytes, _: list[bytes]) -> bytes:
    width, order = draw(st.sampled_from([1, 2, 4, 8])), draw(st.sampled_from(["little", "big"]))
    number = draw(st.sampled_from(NUMBERS)) % 2 ** (8 * width)
    place = _place(draw, data)
    return data[:place] + number.to_bytes(width, order) + data[place + width :]  # type: ignore[arg-type]


def _plant(draw: st.DrawFn, data: bytes, _: list[bytes]) -> bytes:
    place = _place(draw, data)
    return data[:place] + draw(st.sampled_from(PLANTED)) + data[place:]


CHANGES = (_flip, _flip, _truncate, _extend, _splice, _enlarge, _enlarge, _plant)


@st.composite
def spoilt_json(draw: st.DrawFn, samples: list[bytes]) -> bytes:
    """Draw a JSON sample of which a few values are others, or are gone."""
    content = json.loads(draw(st.sampled_from(samples)))
    for _ in range(draw(st.integers(1, MOST_CHANGES))):
        _replace(draw, content)
    return json.dumps(content).encode()


def _replace(draw: st.DrawFn, content: Any) -> None:
    """Go down into values by chance, and change one."""
    keys = list(content) if isinstance(content, dict) else list(range(len(content)))
    if not keys:
        return
    key = draw(st.sampled_from(keys))
    if isinstance(content[key], (dict, list)) and content[key] and draw(st.integers(0, 3)):
        _replace(draw, content[key])
    elif isinstance(content, dict) and not draw(st.integers(0, 7)):
        del content[key]
    else:
        content[key] = deepcopy(draw(st.sampled_from(VALUES) | st.text(max_size=8)))  # else a later change is of VALUES
