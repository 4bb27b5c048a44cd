"""JSON for programs of any language."""

import json

from pipeline.message_lines import Message, dump_json

NO_UTF_8 = "/data/caf\udce9"  # of the bytes of a path in Latin-1


def test_bytes_that_are_no_utf_8_become_text():
    value = {"path": NO_UTF_8, NO_UTF_8: [("a", NO_UTF_8)], "n": 1, "nothing": None, "smile": "\N{GRINNING FACE}"}
    text = dump_json(value)
    assert text.isascii()
    escaped = r"/data/caf\udce9"
    assert json.loads(text) == {"path": escaped, escaped: [["a", escaped]]} | {
        name: value[name] for name in ("n", "nothing", "smile")
    }
    assert json.loads(text)["path"].encode()  # a lone surrogate would have no UTF-8


def test_messages_and_their_fields_too():
    line = Message(f"{NO_UTF_8} is missing", "error", "error", {"path": NO_UTF_8}).to_json()
    found = json.loads(line)
    assert found["message"].encode() == rb"/data/caf\udce9 is missing"
    assert found["path"].encode() == rb"/data/caf\udce9"
