"""JSON that every program reads."""

import math
from typing import Any

from kedro_datasets.json import JSONDataset


class StrictJSONDataset(JSONDataset):  # type: ignore[misc]  # kedro-datasets is untyped
    """A JSON file in which numbers that are not finite are null.

    Python's own `json` writes Infinity and NaN, which the standard (RFC 8259) does not know and which browsers,
    `jq` and databases refuse.
    """

    def save(self, data: Any) -> None:
        super().save(without_infinities(data))


def without_infinities(data: Any) -> Any:
    """Return nested dicts, lists and tuples with None in place of each float that is not finite."""
    if isinstance(data, dict):
        return {key: without_infinities(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [without_infinities(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data
