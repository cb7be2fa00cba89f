"""Names of all parameters, and which of them a resumed training may change."""

from typing import Any

from glow_pipeline.parameters import Parameters, changeable_on_resume, known_names, nearest
from glow_pipeline.training.identity import ADDED, identity

# With another value of one of these it is another training. A new parameter is marked `Changeable` or named here.
DECIDES_WHAT_IS_LEARNED = {
    "": "dataset seed",
    "ingest.": "classes path eval_path eval_percentage name size channels fit range background val_percentage "
    "calibration_percentage val_images on_unreadable max_pixels",
    "model.": "K L hidden_channels actnorm_scale flow_permutation flow_coupling scale_floor LU_decomposed learn_top "
    "y_condition y_weight num_classes n_bits",
    "train.": "batch_size epoch_images lr warmup decay max_grad_clip max_grad_norm precision flip mutation checkpoint "
    "max_skipped_steps ema",
}


def dumped_names() -> set[str]:
    """Return all parameters' names, found in their values: ranges and own parameters are one parameter each."""
    values: dict[str, Any] = Parameters().model_dump()
    groups = {name: value for name, value in values.items() if isinstance(value, dict) and name != "own"}
    return values.keys() - groups.keys() | {f"{group}.{name}" for group, leaves in groups.items() for name in leaves}


def test_known_names_are_all_names() -> None:
    assert len(known_names()) == len(set(known_names()))
    assert set(known_names()) == dumped_names()


def test_changeable_are_all_that_decide_nothing() -> None:
    decisive = {group + name for group, names in DECIDES_WHAT_IS_LEARNED.items() for name in names.split()}
    assert changeable_on_resume() == dumped_names() - decisive
    assert dumped_names() >= decisive


def test_unchangeable_are_a_trainings_identity() -> None:
    assert identity(Parameters()).keys() | ADDED.keys() == set(known_names()) - changeable_on_resume()


def test_nearest_name_or_all_known() -> None:
    assert nearest("hiden", ["hidden", "other"]) == "did you mean hidden?"
    assert nearest("lr", known_names()) == "did you mean train.lr?"
    assert nearest("zzz", ["one", "two"]) == "known are one, two"
    assert nearest("zzz", known_names()) == "docs/parameters.md has all that are known"
