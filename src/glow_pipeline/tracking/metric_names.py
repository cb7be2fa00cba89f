"""Names of metrics in MLflow: grouped by a prefix, which its charts and columns show as sections.

Files such as train_metrics.json keep the plain names.
"""

from collections.abc import Mapping
from typing import TypeVar

Value = TypeVar("Value")

# Prefixes of the metrics of a training; a plain name without one of them is of the training itself.
PARTS = ("train", "val", "test")
# Metrics of a training whose place does not follow from their names.
TRAINING_NAMES = {
    "n_test": "test/n_images",
    "best_epoch": "val/best_epoch",
}

TRAINING = "train"
VALIDATION_BITS = "val/bits_per_dim"
BEST_VALIDATION_BITS = "val/best_bits_per_dim"
TEST_BITS = "test/bits_per_dim"
DETECTION = "ood"
AUROC = f"{DETECTION}/auroc"
HISTORY = "batches"
SEARCH = "search"
SAMPLES_BY_EPOCH = "samples/by_epoch"  # an image, with the epochs as its steps


def of_training(name: str) -> str:
    """Return MLflow's name of a training's metric: `val_bits_per_dim` is `val/bits_per_dim`, `lr` is `train/lr`."""
    if name in TRAINING_NAMES:
        return TRAINING_NAMES[name]
    if "copies" in name:  # of the images, not of the model: no curve beside those of bits/dim
        return f"data/{name}"
    best = "best_" if name.startswith("best_") else ""
    part, _, rest = name.removeprefix(best).partition("_")
    return f"{part}/{best}{rest}" if part in PARTS and rest else f"{TRAINING}/{name}"


def in_group(group: str, metrics: Mapping[str, Value]) -> dict[str, Value]:
    """Return the metrics under MLflow's names.

    Args:
        group: what they are of: `train`, a training; another one (`ood`, `score`, `benchmark`) is the prefix of all.
    """
    if group == TRAINING:
        return {of_training(name): value for name, value in metrics.items()}
    return {f"{group}/{name}": value for name, value in metrics.items()}


def group_of_entry(entry: str) -> str:
    """Return the group of the metrics of a catalog entry, its first word: `ood_metrics` are of `ood`."""
    return entry.partition("_")[0]
