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
        return json.dumps(about | dict(self.fields) | {"message": self.text})


def format_now() -> str:
    """Return the time in the format of messages: ISO 8601, UTC, seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
