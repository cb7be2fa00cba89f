from typing import Any

import pytest
from optuna.trial import FixedTrial

from glow_pipeline.errors import GlowPipelineError, NotAllowedError
from glow_pipeline.parameters import Parameters, parse_parameters
from glow_pipeline.search.space import extremes, suggest


def searching(ranges: dict[str, Any], **others: Any) -> Parameters:
    return parse_parameters({"search": {"ranges": {**dict.fromkeys(Parameters().search.ranges), **ranges}}, **others})


@pytest.mark.parametrize(
    ("ranges", "error"),
    [
        ({"train.lrr": {"low": 1, "high": 2}}, "search.ranges.train.lrr: unknown parameter; did you mean train.lr?"),
        ({"lr": {"low": 1, "high": 2}}, "search.ranges.lr: unknown parameter; did you mean train.lr?"),
        (
            {"dataset": {"choices": ["digits"]}},
            "search.ranges.dataset: cannot be searched; trials differ in parameters",
        ),
        ({"ingest.size": {"choices": [8, 16]}}, "search.ranges.ingest.size: cannot be searched"),
        ({"seed": {"choices": [1, 2]}}, "search.ranges.seed: cannot be searched"),
        ({"search.n_trials": {"choices": [1, 2]}}, "search.ranges.search.n_trials: cannot be searched"),
        ({"model.n_bits": {"choices": [1, 2]}}, "search.ranges.model.n_bits: cannot be searched; trials differ in par"),
        (
            {"model.y_condition": {"choices": [False, True]}},
            "search.ranges.model.y_condition: cannot be searched; trials differ in parameters of model and train, and "
            "bits per dimension given the class are not comparable with others",
        ),
        ({"model.K": {"low": 0, "high": 4}}, "search.ranges: model.K=0: should be greater than or equal to 1"),
        ({"model.K": {"low": 1.0, "high": 4.0}}, "search.ranges: model.K=1.0: should be a valid integer"),
        ({"model.K": {"low": 1, "high": 4.0}}, "search.ranges: model.K=4.0: should be a valid integer"),
        (
            {"model.K": {"low": 1, "high": 4, "step": 1.5}},
            "search.ranges.model.K.step=1.5: should be whole, as model.K is",
        ),
        ({"model.L": {"low": 1, "high": 4}}, "search.ranges: model.L=4: each level halves the image, and 8x8 can be"),
        ({"train.lr": {"low": 0, "high": 1}}, "search.ranges: train.lr=0: should be greater than 0"),
        ({"train.flip": {"choices": [False, True]}}, "search.ranges: train.flip=True: a mirror image of digits"),
        (
            {"model.flow_coupling": {"choices": ["afine"]}},
            "search.ranges: model.flow_coupling='afine': should be 'affine'",
        ),
        ({"model.flow_coupling": {"low": 1, "high": 2}}, "search.ranges: model.flow_coupling=1: should be 'affine'"),
        (
            {"train.batch_size_per_device": {"choices": [8, 16]}},
            "search.ranges.train.batch_size_per_device: cannot be searched; search train.batch_size, with",
        ),
        ({}, "search.ranges={}: nothing to search"),
    ],
)
def test_invalid_ranges_are_reported_in_one_line(ranges: dict[str, Any], error: str) -> None:
    with pytest.raises(GlowPipelineError) as raised:
        list(extremes(searching({"model.L": None, **ranges})))
    assert error in str(raised.value)
    assert "\n" not in str(raised.value)


def test_size_per_device_excludes_a_searched_batch_size() -> None:
    ranges = {"train.batch_size": {"choices": [8, 16]}}
    assert len(list(extremes(searching(ranges)))) == 2
    with pytest.raises(GlowPipelineError) as raised:
        list(extremes(searching(ranges, train={"batch_size_per_device": 4})))
    assert str(raised.value) == (
        "search.ranges.train.batch_size: cannot be searched with train.batch_size_per_device=4; search "
        "train.batch_size, with train.batch_size_per_device=null"
    )


def test_extremes_vary_one_parameter_at_a_time() -> None:
    ranges = {"model.K": {"low": 2, "high": 4, "step": 2}, "train.max_grad_norm": {"choices": [0, 1, 10.0]}}
    found = [(one.model.K, one.train.max_grad_norm) for one in extremes(searching(ranges, model={"K": 3}))]
    assert found == [(2, 0.0), (4, 0.0), (3, 0.0), (3, 1.0), (3, 10.0)]


def test_range_end_needs_one_valid_combination() -> None:
    ranges: dict[str, Any] = {"model.flow_coupling": {"choices": ["affine", "additive"]}}
    floor = {"model.scale_floor": {"low": 0.0, "high": 0.5}}
    set_to = {"scale_floor": 0.25}
    found = [
        (one.model.flow_coupling, one.model.scale_floor)
        for one in extremes(searching({**ranges, **floor}, model=set_to))
    ]
    assert found == [("affine", 0.25), ("additive", 0.0), ("affine", 0.0), ("affine", 0.5)]
    with pytest.raises(
        GlowPipelineError, match=r"^search\.ranges: model\.scale_floor=0\.25: an additive coupling has no"
    ):
        list(extremes(searching(ranges, model=set_to)))


def test_invalid_combination_has_its_own_error() -> None:
    ranges = {
        "model.flow_coupling": {"choices": ["affine", "additive"]},
        "model.scale_floor": {"low": 0.0, "high": 0.5},
    }
    trial = FixedTrial({"model.flow_coupling": "additive", "model.scale_floor": 0.5})
    with pytest.raises(NotAllowedError, match="an additive coupling has no scale"):
        suggest(trial, searching(ranges))  # type: ignore[arg-type]
    assert trial.params == {"model.flow_coupling": "additive", "model.scale_floor": 0.5}


def test_suggest_changes_the_searched_parameters_only() -> None:
    ranges = {
        "model.K": {"low": 2, "high": 8, "step": 2},
        "model.flow_coupling": {"choices": ["affine", "additive"]},
        "train.lr": {"low": 1e-4, "high": 1e-2, "log": True},
        "train.max_grad_norm": {"low": 0, "high": 100},
        "train.num_workers": None,
    }
    given = searching(ranges, seed=5, train={"n_epochs": 3})
    values = {"model.K": 6, "model.flow_coupling": "additive", "train.lr": 1e-3, "train.max_grad_norm": 0.5}
    trial = FixedTrial(values)
    proposed = suggest(trial, given)  # type: ignore[arg-type]
    assert (proposed.model.K, proposed.model.flow_coupling) == (6, "additive")
    assert (proposed.train.lr, proposed.train.max_grad_norm) == (1e-3, 0.5)
    assert (proposed.seed, proposed.train.n_epochs) == (5, 3)
    kinds = {name: repr(distribution) for name, distribution in trial.distributions.items()}
    assert kinds == {
        "model.K": "IntDistribution(high=8, log=False, low=2, step=2)",
        "model.flow_coupling": "CategoricalDistribution(choices=('affine', 'additive'))",
        "train.lr": "FloatDistribution(high=0.01, log=True, low=0.0001, step=None)",
        "train.max_grad_norm": "FloatDistribution(high=100.0, log=False, low=0.0, step=None)",
    }


def test_nullable_parameter_can_be_searched() -> None:
    given = searching({"model.num_classes": {"choices": [None, 12]}})
    assert len(list(extremes(given))) == 2
    assert suggest(FixedTrial({"model.num_classes": None}), given).model.num_classes is None  # type: ignore[arg-type]
