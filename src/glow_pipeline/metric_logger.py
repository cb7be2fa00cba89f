"""Metrics and figures from inside a node, into the MLflow run that the tracking hook has started.

Without such a run (in a test, in a script, with tracking switched off) they go nowhere.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def log_metrics(metrics: Mapping[str, float], step: int) -> None:
    """Metrics by name at an optimiser step, in one request."""
    import mlflow  # here, because it takes seconds and not every run needs it

    if mlflow.active_run() is not None:
        mlflow.log_metrics(dict(metrics), step=step)


def log_figure(figure: "Figure", file: str) -> None:
    """A figure as an artifact of this path within the run."""
    import mlflow

    if mlflow.active_run() is not None:
        mlflow.log_figure(figure, file)
