"""The policy of promotions: the table [promotion] of a configuration file."""

import hashlib
import json
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from model.errors import BadUsage
from model.recipes import check_names, shown

BEST = "best"
NONE = "none"
MOST_REASON = 1000  # characters of the user's reason for a decision

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Policy(BaseModel):
    """The requirements of a promotion. Shares are of the test split, 0 to 1. The defaults need no configuration.

    Attributes:
        minimum_accuracy: of the challenger. The default is 0, since a useful minimum depends on the data; in any case
            the challenger must be better than predicting the most frequent class always.
        minimum_gain: of the challenger's accuracy over the champion's; negative allows a loss.
        significance: the largest p-value of McNemar's exact test at which a gain is significant, by convention 0.05. It
            keeps equally good models from replacing each other by chance; 1 requires no significance.
        largest_class_loss: the largest loss of recall of a class, compared with the champion. The default of 5 points
            is about 1.5 standard deviations of the difference for a class with a hundred test examples.
        reference: a second run to compare with by the same settings, so that many small losses do not add up: "best"
            for the promoted run with the highest accuracy, "none", or a run's id.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    minimum_accuracy: Share = 0.0
    minimum_gain: Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)] = 0.0
    significance: Annotated[float, Field(gt=0, le=1)] = 0.05
    largest_class_loss: Share = 0.05
    reference: Annotated[str, Field(min_length=1, max_length=200)] = BEST

    @model_validator(mode="after")
    def _does_not_contradict_itself(self) -> Self:
        if self.minimum_gain < 0 and self.significance < 1:
            raise ValueError("a minimum_gain below 0 allows a loss, and only significance = 1 asks for no gain")
        return self

    @property
    def digest(self) -> str:
        """SHA-256 (hexadecimal) of the policy."""
        return hashlib.sha256(json.dumps(self.model_dump(), sort_keys=True).encode()).hexdigest()


def resolve_policy(table: dict[str, Any]) -> Policy:
    """Return the policy of the table [promotion]; raises BadUsage if a setting is unknown or a value not allowed."""
    check_names(table, Policy.model_fields, "promotion: no such setting")
    try:
        return Policy.model_validate(table, strict=True)
    except ValidationError as problem:
        first = problem.errors()[0]
        place = ".".join(map(str, ("promotion", *first["loc"])))
        found = f", found {shown(first['input'])}" if first["loc"] else ""
        raise BadUsage(f"{place}: {first['msg'].removeprefix('Value error, ')}{found}") from None
