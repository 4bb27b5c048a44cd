"""What a challenger must show to become the champion: the table [promotion] of a configuration file.

    [promotion]
    minimum_accuracy = 0.9
    minimum_gain = 0.0
    significance = 0.05
    largest_class_loss = 0.05
    reference = "best"

Whatever is not given is as below, so that there is a verdict where nothing is configured.
"""

import hashlib
import json
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from model.errors import BadUsage
from model.recipes import nearest, shown

BEST = "best"
NONE = "none"

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Policy(BaseModel):
    """What a promotion takes. Shares are of the test split, 0 to 1.

    Attributes:
        minimum_accuracy: of the challenger. By default 0: what is enough depends on the data; that it must be better
            than to answer the most frequent class always is asked for in any case.
        minimum_gain: of the challenger's accuracy over the champion's; negative allows a loss.
        significance: the largest p-value of McNemar's exact test at which a gain is taken for one, by custom 0.05; 1
            asks for no significance. With less, equally good models do not replace each other by luck.
        largest_class_loss: by how much the recall of a class may be below the champion's. The default of 5 points is
            some 1.5 standard deviations of the difference where a class has a hundred test examples.
        reference: the same is asked in comparison with this run, so that many small losses do not add up: "best" for
            the one of the highest accuracy of all promoted, "none", or a run's id.
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
    """Work out the policy from what a configuration says below [promotion].

    Raises:
        BadUsage: there is no such setting, or a value is not allowed; the message names the nearest.
    """
    unknown = [name for name in table if name not in Policy.model_fields]
    if unknown:
        raise BadUsage(
            f"promotion: no such setting: {shown(unknown[0])}{nearest(unknown[0], Policy.model_fields)}; there are: "
            f"{', '.join(Policy.model_fields)}"
        )
    try:
        return Policy.model_validate(table, strict=True)
    except ValidationError as problem:
        first = problem.errors()[0]
        place = ".".join(map(str, ("promotion", *first["loc"])))
        found = f", found {shown(first['input'])}" if first["loc"] else ""
        raise BadUsage(f"{place}: {first['msg'].removeprefix('Value error, ')}{found}") from None
