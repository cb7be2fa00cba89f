"""Work before the first training step, counted rather than timed."""

import json
from pathlib import Path
from typing import Any

import pytest


def seen(project: Path, moment: str) -> dict[str, Any]:
    """Return the imported modules and the number of full garbage collections at a moment of the real command."""
    found: dict[str, Any] = json.loads((project / f"{moment}.json").read_text())
    return found


@pytest.mark.parametrize(
    ("moment", "needed", "needless"),
    [
        ("discovered", {"torch"}, {"mlflow", "scipy"}),
        (
            "trained",
            {"torch", "mlflow"},
            {"IPython", "torch._dynamo", "sympy"},  # torch.optim would import the last two
        ),
    ],
)
def test_needless_packages_are_not_imported(
    finished_digits: Path, moment: str, needed: set[str], needless: set[str]
) -> None:
    imported = set(seen(finished_digits, moment)["modules"])
    assert needed <= imported
    assert imported.isdisjoint(needless | {"medmnist", "skimage", "sklearn", "torchvision"})


def test_garbage_collection_hardly_visits_imports(finished_digits: Path) -> None:
    assert seen(finished_digits, "trained")["full_collections"] <= 3  # ten times without `without_gc`
