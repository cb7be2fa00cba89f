"""The time between two checkpoints of a training: `train.checkpoint_every`."""

import re
from typing import Literal, NamedTuple, Self


class Interval(NamedTuple):
    """A number of minutes or of steps."""

    every: float
    unit: Literal["minutes", "steps"]

    @classmethod
    def parse(cls, text: str | float) -> Self:
        """Parse `10` (minutes), `10min` or `500steps`.

        Raises:
            ValueError: the text has another form, or the number is not above 0.
        """
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(min|minutes?|steps?|)\s*", str(text))
        if found is None or float(found[1]) <= 0:
            raise ValueError(f"{text}: not a number of minutes or steps: 10, 10min, 500steps")
        unit: Literal["minutes", "steps"] = "steps" if found[2].startswith("step") else "minutes"
        return cls(float(found[1]), unit)
