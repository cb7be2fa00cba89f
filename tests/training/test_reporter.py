"""Reporters of a training."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from glow_pipeline.flow import Glow
from glow_pipeline.tracking.metric_logger import MetricLogger
from glow_pipeline.training.epoch_samples import SAMPLES, EpochSamples
from glow_pipeline.training.history import History, Metrics
from glow_pipeline.training.reporter import MlflowReporter, SeveralReporters, TrialReporter
from tests.plots.test_grids import pictures, shown
from tests.training.helpers import new_glow


class LoggedHere(MetricLogger):
    """A metric logger that keeps everything."""

    def __init__(self) -> None:
        super().__init__(None)
        self.rows: list[tuple[Mapping[str, float], int]] = []
        self.makers: list[tuple[Callable[[], Figure], str, int]] = []

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        self.rows.append((metrics, step))

    def log_figure(self, figure: Callable[[], Figure], key: str, step: int) -> None:
        self.makers.append((figure, key, step))

    @property
    def figures(self) -> list[tuple[Figure, str, int]]:
        return [(make(), key, step) for make, key, step in self.makers]

    def catch_up(self, rows: Sequence[tuple[Mapping[str, float], int]]) -> None:
        self.rows.extend(rows)


def mlflow_reporter(logged: MetricLogger, given_class: bool = False) -> MlflowReporter:
    return MlflowReporter(logged, EpochSamples(0, 0.7), given_class=given_class)


def test_figures_given_the_class_are_logged_so() -> None:
    logged = LoggedHere()
    assert mlflow_reporter(logged, given_class=True).epoch({"epoch": 1, "val_bits_per_dim": 2.0}, 5) is False
    mlflow_reporter(logged).epoch({"epoch": 1, "val_bits_per_dim": 2.0}, 5)
    assert next(iter(logged.rows[0][0])) == "val/bits_per_dim_given_class", "MLflow compares by the first metric"
    assert logged.rows == [
        ({"train/epoch": 1, "val/bits_per_dim_given_class": 2.0}, 5),
        ({"train/epoch": 1, "val/bits_per_dim": 2.0}, 5),
    ]


def test_resumed_training_logs_its_past_epochs() -> None:
    logged = LoggedHere()
    epochs: list[Metrics] = [{"epoch": 1, "lr": 0.1, "step": 5}, {"epoch": 2, "lr": 0.2, "step": 10}]
    mlflow_reporter(logged).catch_up(History(epochs))
    assert logged.rows == [
        ({"train/epoch": 1, "train/lr": 0.1}, 5),
        ({"train/epoch": 2, "train/lr": 0.2}, 10),
    ]


@pytest.mark.parametrize("y_condition", [False, True])
def test_samples_are_a_grid_of_the_epoch(y_condition: bool) -> None:
    logged, model = LoggedHere(), new_glow(**({"y_condition": True, "num_classes": 3} if y_condition else {}))
    model.initialize(torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0)) - 0.5)
    for _ in range(2):
        mlflow_reporter(logged, y_condition).samples(model, 7)
    (figure, key, step), (again, *_) = logged.figures
    assert (key, step) == ("samples/by_epoch", 7)
    drawn, drawn_again = (np.stack([shown(picture) for picture in pictures(each)]) for each in (figure, again))
    assert len(drawn) == SAMPLES
    assert np.array_equal(drawn, drawn_again), "the same latents each time"


def test_samples_are_of_the_weights_when_reported() -> None:
    logged, model = LoggedHere(), new_glow()
    model.initialize(torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0)) - 0.5)
    mlflow_reporter(logged).samples(model, 1)
    before = pictures(logged.figures[0][0])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(torch.nan)
    after = pictures(logged.figures[0][0])
    assert all(np.array_equal(shown(a), shown(b)) for a, b in zip(before, after, strict=True))


class Scripted:
    """A reporter that keeps its calls and answers as given."""

    def __init__(self, stops: bool) -> None:
        self.stops, self.calls = stops, list[object]()

    def epoch(self, metrics: Metrics, step: int) -> bool:
        self.calls.append((metrics, step))
        return self.stops

    def samples(self, _flow: Glow, epoch: int) -> None:
        self.calls.append(epoch)


def test_any_of_several_reporters_stops_the_training() -> None:
    first, second = Scripted(True), Scripted(False)
    both = SeveralReporters([first, second])
    assert both.epoch({"epoch": 1}, 5) is True
    both.samples(new_glow(), 3)
    assert first.calls == second.calls == [({"epoch": 1}, 5), 3]
    assert SeveralReporters([second]).epoch({"epoch": 2}, 6) is False
    assert SeveralReporters([]).epoch({"epoch": 2}, 6) is False


def test_trial_reports_epoch_and_validation_bits() -> None:
    taken: list[tuple[int, float]] = []

    def prune(epoch: int, bits_per_dim: float) -> bool:
        taken.append((epoch, bits_per_dim))
        return epoch == 2

    reporter = TrialReporter(prune)
    assert [reporter.epoch({"epoch": k, "val_bits_per_dim": k / 2, "lr": 0.1}, 5 * k) for k in (1, 2)] == [False, True]
    assert taken == [(1, 0.5), (2, 1.0)]


def test_samples_of_an_epoch_are_drawn_once() -> None:
    drawn, model = EpochSamples(0, 0.7), new_glow()
    first = drawn.of(model, 1)
    assert drawn.of(model, 1) is first
    assert drawn.of(model, 2) is not first
