"""Reporters: where a training reports its epochs to."""

from collections.abc import Callable, Sequence
from typing import Protocol

from matplotlib.figure import Figure

from glow_pipeline.flow import Glow
from glow_pipeline.plots.grids import cross_out, square_grid
from glow_pipeline.tracking.metric_logger import MetricLogger
from glow_pipeline.tracking.metric_names import SAMPLES_BY_EPOCH, TRAINING, VALIDATION_BITS, in_group
from glow_pipeline.training.epoch_samples import EpochSamples
from glow_pipeline.training.history import History, Metrics, reported


class Reporter(Protocol):
    """Takes what a training reports on its way."""

    def epoch(self, metrics: Metrics, step: int, /) -> bool:
        """Take a finished epoch's metrics and the step at its end; return whether the training is to stop there."""

    def samples(self, flow: Glow, epoch: int, /) -> None:
        """Take the flow after this epoch, to show samples of it."""


class SeveralReporters:
    """Reports to several reporters, in order; the training stops if one of them says so."""

    def __init__(self, reporters: Sequence[Reporter]) -> None:
        self._reporters = reporters

    def epoch(self, metrics: Metrics, step: int) -> bool:
        stops = [reporter.epoch(metrics, step) for reporter in self._reporters]  # all of them are called
        return any(stops)

    def samples(self, flow: Glow, epoch: int) -> None:
        for reporter in self._reporters:
            reporter.samples(flow, epoch)


class MlflowReporter:
    """Logs metrics, and grids of samples, to the training's MLflow run.

    Args:
        metric_logger: sends to the run.
        given_class: whether the model is class-conditioned, and so its figures are given the class.
        drawn: draws the samples.
    """

    def __init__(self, metric_logger: MetricLogger, drawn: EpochSamples, *, given_class: bool) -> None:
        self._metric_logger, self._drawn, self._given_class = metric_logger, drawn, given_class

    def catch_up(self, history: History) -> None:
        """Log the epochs of a resumed training that its run lacks."""
        rows = [({key: row[key] for key in row if key != "step"}, int(row["step"])) for row in history.epochs]
        self._metric_logger.catch_up([(self._named(metrics), step) for metrics, step in rows])

    def epoch(self, metrics: Metrics, step: int) -> bool:
        self._metric_logger.log_metrics(self._named(metrics), step)
        return False

    def samples(self, flow: Glow, epoch: int) -> None:
        copies = self._drawn.of(flow, epoch)

        def grid() -> Figure:
            return square_grid(cross_out(*copies.get()), f"epoch {epoch}")

        self._metric_logger.log_figure(grid, SAMPLES_BY_EPOCH, epoch)

    def _named(self, metrics: Metrics) -> Metrics:
        """Return the metrics under MLflow's names, those of validation first: MLflow compares by the first metric."""
        named = in_group(TRAINING, reported(metrics, self._given_class))
        return dict(sorted(named.items(), key=lambda item: not item[0].startswith(VALIDATION_BITS)))


class TrialReporter:
    """Reports each epoch of a search's trial to the search, which may stop it.

    Args:
        on_epoch: takes the epoch and its bits per dimension on validation images; returns whether to stop.
    """

    def __init__(self, on_epoch: Callable[[int, float], bool]) -> None:
        self._on_epoch = on_epoch

    def epoch(self, metrics: Metrics, _step: int) -> bool:
        return self._on_epoch(int(metrics["epoch"]), metrics["val_bits_per_dim"])

    def samples(self, _flow: Glow, _epoch: int) -> None:
        pass
