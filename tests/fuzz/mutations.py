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
        place = _place(draw, data)
        inserted = draw(st.sampled_from(INSERTED))(draw, samples)
        num_removed = draw(st.sampled_from([0, len(inserted), len(inserted), 1, len(data)]))
        data = data[:place] + inserted + data[place + num_removed :]
    return data


def _place(draw: st.DrawFn, data: bytes) -> int:
    """Draw a position, those near both ends, where headers and footers are, more often."""
    end = len(data)
    return draw(st.integers(0, min(64, end)) | st.integers(max(0, end - 64), end) | st.integers(0, end))


def _draw_nothing(_: st.DrawFn, __: list[bytes]) -> bytes:
    return b""


def _draw_bytes(draw: st.DrawFn, _: list[bytes]) -> bytes:
    return draw(st.binary(min_size=1, max_size=1) | st.binary(max_size=32) | st.sampled_from(PLANTED))


def _draw_piece(draw: st.DrawFn, samples: list[bytes]) -> bytes:
    """Draw a piece of a sample, or all of it."""
    data = draw(st.sampled_from(samples))
    start = draw(st.just(0) | st.integers(0, len(data)))
    return data[start : start + draw(st.integers(1, 256) | st.just(len(data)))]


def _draw_number(draw: st.DrawFn, _: list[bytes]) -> bytes:
    width = draw(st.sampled_from([1, 2, 4, 8]))
    number = draw(st.sampled_from(NUMBERS)) % 2 ** (8 * width)
    return number.to_bytes(width, draw(st.sampled_from(["little", "big"])))  # type: ignore[arg-type]


INSERTED = (_draw_nothing, _draw_bytes, _draw_bytes, _draw_piece, _draw_number, _draw_number)


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
