"""How often a training writes a checkpoint: `train.checkpoint_every`."""

import re
from typing import Literal, NamedTuple, Self


class Interval(NamedTuple):
    """How often to write a checkpoint."""

    every: float
    unit: Literal["minutes", "steps"]

    @classmethod
    def of(cls, text: str | float) -> Self:
        """`10`, `10min` or `500steps`.

        Raises:
            ValueError: it is none of these, or not above 0.
        """
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(min|minutes?|steps?|)\s*", str(text))
        if found is None or float(found[1]) <= 0:
            raise ValueError(f"{text}: not a number of minutes or steps: 10, 10min, 500steps")
        unit: Literal["minutes", "steps"] = "steps" if found[2].startswith("step") else "minutes"
        return cls(float(found[1]), unit)
