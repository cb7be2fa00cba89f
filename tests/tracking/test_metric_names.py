"""Names of metrics in MLflow."""

import pytest

from glow_pipeline.tracking.metric_names import group_of_entry, in_group


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("val_bits_per_dim", "val/bits_per_dim"),
        ("val_bits_per_dim_given_class", "val/bits_per_dim_given_class"),
        ("best_val_bits_per_dim", "val/best_bits_per_dim"),
        ("best_epoch", "val/best_epoch"),
        ("test_bits_per_dim", "test/bits_per_dim"),
        ("n_test", "test/n_images"),
        ("test_copies_of_train", "data/test_copies_of_train"),
        ("calibration_copies_of_train", "data/calibration_copies_of_train"),
        ("epoch", "train/epoch"),
        ("lr", "train/lr"),
        ("val", "train/val"),
    ],
)
def test_trainings_metrics_are_grouped_by_part(name: str, expected: str) -> None:
    assert in_group("train", {name: 1.0}) == {expected: 1.0}


def test_other_groups_are_prefixes() -> None:
    assert in_group(group_of_entry("ood_metrics"), {"auroc.nll": 0.5}) == {"ood/auroc.nll": 0.5}
