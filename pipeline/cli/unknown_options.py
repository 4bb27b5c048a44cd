"""Messages about options that a command does not have."""

from typing import Any

from typer.core import TyperCommand

from model.errors import BadUsage
from model.recipes import nearest, shown


class Command(TyperCommand):
    """A command that names the nearest of its options, and all of them, if there is no such option."""

    def parse_args(self, context: Any, arguments: list[str]) -> list[str]:
        """Parse the arguments into the context; raises BadUsage for an unknown option."""
        try:
            return super().parse_args(context, arguments)
        except Exception as problem:
            if type(problem).__name__ != "NoSuchOption":  # it is in another module of each version of Typer
                raise
            unknown = vars(problem)["option_name"]
        names = [name for option in self.params for name in option.opts if name.startswith("--")]
        hint = nearest(unknown, names)
        raise BadUsage(f"{self.name}: no such option: {shown(unknown)}{hint}; there are: {', '.join(names)}")
