"""How much `prune` keeps: the table [retention] of a configuration file."""

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from model.errors import BadUsage
from model.recipes import check_names, shown

MOST_KEPT = 2**31 - 1
MOST_DAYS = 36_500


class Retention(BaseModel):
    """How much is kept besides what is needed in any case. What one of the two keeps is kept.

    Attributes:
        keep: the newest runs that are kept, of the whole workspace, with their data sets; and as many of the data sets
            that no run was trained on.
        keep_days: runs that finished in the last so many days are kept, with their data sets, and data sets that no run
            was trained on and that were made in these days.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    keep: Annotated[int, Field(ge=0, le=MOST_KEPT)] | None = None
    keep_days: Annotated[int, Field(ge=0, le=MOST_DAYS)] | None = None

    @model_validator(mode="after")
    def _keeps_something(self) -> Self:
        if self.keep is None and self.keep_days is None:
            raise ValueError("says neither keep nor keep_days: set one or both")
        return self

    def __str__(self) -> str:
        options = {"--keep": self.keep, "--keep-days": self.keep_days}
        return " ".join(f"{option} {value}" for option, value in options.items() if value is not None)


def resolve_retention(table: dict[str, Any] | None) -> Retention | None:
    """Return the rule of the table [retention], None without one; raises BadUsage if a setting is not allowed."""
    if table is None:
        return None
    check_names(table, Retention.model_fields, "retention: no such setting")
    try:
        return Retention.model_validate(table, strict=True)
    except ValidationError as problem:
        first = problem.errors()[0]
        place = ".".join(str(part) for part in ("retention", *first["loc"]))
        found = f", found {shown(first['input'])}" if first["loc"] else ""
        raise BadUsage(f"{place}: {first['msg'].removeprefix('Value error, ')}{found}") from None
