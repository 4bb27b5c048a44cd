"""Messages as lines: text for people, or one JSON object a line for programs that collect logs."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, TypeAlias

Level: TypeAlias = Literal["info", "warning", "error"]


class Message(NamedTuple):
    """A message of a command."""

    text: str
    level: Level = "info"
    event: str = "message"  # what happened, such as stage_started, for programs
    fields: Mapping[str, Any] = {}  # what it is about: stage, run, seconds, counts

    def to_json(self) -> str:
        """Return a JSON object on one line, in ASCII, which no terminal takes for control characters."""
        about = {"time": format_now(), "level": self.level, "event": self.event}
        return dump_json(about | dict(self.fields) | {"message": self.text})


def dump_json(value: Any) -> str:
    """Return JSON, in ASCII, that strict readers take: texts are escaped as by `escape_surrogates`."""
    return json.dumps(_escape_all(value))


def _escape_all(value: Any) -> Any:
    if isinstance(value, str):
        return escape_surrogates(value)
    if isinstance(value, Mapping):
        return {_escape_all(key): _escape_all(item) for key, item in value.items()}
    return [_escape_all(item) for item in value] if isinstance(value, list | tuple) else value


def escape_surrogates(text: str) -> str:
    r"""Return a text that has UTF-8: bytes of a path that are none, lone surrogates in `str`, become the text \udcXX.

    Standard error shows them so too.
    """
    return text.encode("utf-8", "backslashreplace").decode()


def format_now() -> str:
    """Return the time in the format of messages: ISO 8601, UTC, seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
