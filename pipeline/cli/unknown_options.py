"""Messages about options that a command does not have."""

from typing import Any

from typer.core import TyperCommand

from model.errors import BadUsage
from model.recipes import shown
from model.synonyms import nearest


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
        names = _list_options(self)
        passed_on_by = context.parent.command if context.parent else self
        if isinstance(passed_on_by, Command):  # `schedule` passes options on to the command that it starts
            own = _list_options(passed_on_by)
            hint = nearest(unknown, [*own, *names])
            listed = f"there are: {', '.join(own)}; and those of {self.name}: {', '.join(names)}"
            raise BadUsage(f"{passed_on_by.name}: no such option: {shown(unknown)}{hint}; {listed}")
        hint = nearest(unknown, names)
        raise BadUsage(f"{self.name}: no such option: {shown(unknown)}{hint}; there are: {', '.join(names)}")


def _list_options(command: TyperCommand) -> list[str]:
    """Return the long names of a command's options."""
    return [name for option in command.params for name in option.opts if name.startswith("--")]
