"""The logger of a training's metrics and figures, which writes to an MLflow run that is running already.

A training must not wait for a server, nor end with it: a separate thread sends, in order, and keeps what cannot be sent
until it can. It draws the figures too. Without a run (in a test, in a script, with tracking switched off) nothing is
drawn and nothing is sent.

Python runs one thread at a time, so whatever this one does holds up the training as long: 5 ms for an epoch's metrics,
30 ms for a figure. A GPU that has work for so long does not notice, but at an epoch's end it has none. So the thread
first lets the training give it some.
"""

import io
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Self, TypeVar

from glow_pipeline.tracking.failures import failure_line, is_refusal, mlflow_failures, restrain_mlflow
from glow_pipeline.tracking.images import has_image, mark_images
from glow_pipeline.tracking.runs import RunAddress, client_of, metric_value

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mlflow import MlflowClient

logger = logging.getLogger(__name__)
PATIENCE = 30.0  # seconds that `close` waits
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # seconds between attempts to send
LULL = 0.1  # seconds in which a training queues the first steps of its next epoch

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class _Row:
    metrics: Mapping[str, float]
    step: int
    milliseconds: int  # since 1970, when it was logged: a row that is sent twice is then one row to MLflow


@dataclass
class _Picture:
    figure: "Callable[[], Figure] | None"  # None when it is drawn
    key: str
    step: int
    milliseconds: int
    png: bytes = b""
    attempted: bool = False  # so that the run may have it, or part of it

    def draw(self) -> None:
        if self.figure is not None:
            png = io.BytesIO()
            self.figure().savefig(png, format="png")
            self.figure, self.png = None, png.getvalue()


class MetricLogger:
    """A sender of metrics to one run, from a separate thread. A context manager, which closes.

    Args:
        run: None: nothing is sent.
        patience: seconds that `close` waits at most.
        longest_pause: seconds between two attempts at most, while MLflow cannot be reached.
    """

    def __init__(
        self, run: RunAddress | None, *, patience: float = PATIENCE, longest_pause: float = LONGEST_PAUSE
    ) -> None:
        self._run, self._patience, self._longest_pause = run, patience, longest_pause
        self._rows: deque[_Row] = deque()
        self._pictures: deque[_Picture] = deque()  # apart: a store that takes none must not hold up the metrics
        self._changed = threading.Condition()  # guards what `_wait` reads
        self._closing = self._given_up = self._resumes = False
        self._failures: deque[Exception] = deque()  # by which figures could not be drawn
        # Used by the thread alone:
        self._unreachable = self._has_refused = False
        self._queried: set[str] = set()  # metrics whose steps in the run are known
        self._known: set[tuple[str, int]] = set()  # metrics and steps that the run has
        self._thread = threading.Thread(target=self._work, name="metric_logger", daemon=True)
        if run is not None:
            self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close()
        if kind is None:
            self._raise_failure()

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Log metrics by name, at an optimiser step. Returns at once.

        Raises:
            Exception: an earlier figure could not be drawn.
        """
        self._add(self._rows, _Row(dict(metrics), step, _now()))

    def log_figure(self, figure: "Callable[[], Figure]", key: str, step: int) -> None:
        """Log a figure as the image of this key at this step, once. Returns at once.

        Args:
            figure: makes the figure, in the thread that sends it; must not use what changes meanwhile.
            key: name of the images that MLflow shows as one, with a slider over the steps.
            step: place of this one among them.

        Raises:
            Exception: an earlier figure could not be drawn.
        """
        self._add(self._pictures, _Picture(figure, key, step, _now()))

    def catch_up(self, rows: Sequence[tuple[Mapping[str, float], int]]) -> None:
        """Log the past metrics and steps of a resumed training that its run does not have yet.

        From now on `log_metrics` and `log_figure` too leave out what the run has: a step that is computed again gives
        the same.
        """
        self._resumes = True
        for metrics, step in rows:
            self.log_metrics(metrics, step)

    def close(self) -> None:
        """Send the rest within the patience, and warn if some of it could not be sent."""
        if self._run is None or self._given_up:
            return
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(self._patience)
        with self._changed:
            self._given_up = True
            self._changed.notify_all()
            if self._rows or self._pictures:
                logger.warning("MLflow could not be reached: not sent are %s", self._left())

    def _left(self) -> str:
        parts = [f"{len(self._pictures)} figures"] if self._pictures else []
        if self._rows:
            steps = sorted({row.step for row in self._rows})
            listed = ", ".join(map(str, steps if len(steps) <= 6 else [*steps[:3], "...", *steps[-2:]]))
            parts.append(
                f"{len(self._rows)} rows of metrics, of steps {listed}; these are in the training's last checkpoint"
            )
        return " and ".join(parts)

    def _raise_failure(self) -> None:
        if self._failures:
            raise self._failures.popleft()

    def _add(self, waiting: deque[_Item], item: _Item) -> None:
        self._raise_failure()
        if self._run is not None:
            with self._changed:
                waiting.append(item)
                self._changed.notify_all()

    def _work(self) -> None:
        restrain_mlflow()
        pause = 0.0
        while self._wait(pause):
            all_rows = self._send_all(self._rows, self._send_row)
            all_pictures = self._send_all(self._pictures, self._send_picture)
            pause = 0.0 if all_rows and all_pictures else min(2 * pause or FIRST_PAUSE, self._longest_pause)
            if self._unreachable and not pause:
                self._unreachable = False
                logger.info("MLflow is back, and has what was kept")

    def _wait(self, pause: float) -> bool:
        """Wait until the pause is over and there is something to send; return False if nothing more will come."""
        with self._changed:
            if not self._closing:
                self._changed.wait_for(lambda: self._closing, pause)
            else:
                self._changed.wait_for(lambda: self._given_up, min(pause, FIRST_PAUSE))
            self._changed.wait_for(lambda: self._closing or self._rows or self._pictures)
            self._changed.wait_for(lambda: self._closing, LULL)
            return bool(self._rows or self._pictures) and not self._given_up

    def _send_all(self, waiting: deque[_Item], send: Callable[[_Item], None]) -> bool:
        """Send until nothing waits; return False if MLflow could not be reached meanwhile."""
        while waiting and not self._given_up:
            try:
                send(waiting[0])
            except mlflow_failures() as error:
                if not is_refusal(error):
                    self._report_unreachable(error)
                    return False
                self._report_refusal(error)
            waiting.popleft()
        return True

    def _report_unreachable(self, error: Exception) -> None:
        if not self._unreachable and not self._given_up:
            self._unreachable = True
            logger.warning(
                "MLflow cannot be reached; training continues, metrics are kept and sent later (%s)",
                failure_line(error),
            )

    def _report_refusal(self, error: Exception) -> None:
        if not self._has_refused:
            self._has_refused = True
            logger.warning("MLflow refuses metrics or figures, which are left out (%s)", failure_line(error))

    def _send_row(self, row: _Row) -> None:
        from mlflow.entities import Metric

        client, run_id = self._open
        if self._resumes:
            for key in row.metrics.keys() - self._queried:
                self._known.update((key, past.step) for past in client.get_metric_history(run_id, key))
                self._queried.add(key)
        missing = [
            Metric(key, metric_value(value), row.milliseconds, row.step)
            for key, value in row.metrics.items()
            if (key, row.step) not in self._known
        ]
        if missing:
            client.log_batch(run_id, metrics=missing)
        self._known.update((key, row.step) for key in row.metrics)

    def _send_picture(self, picture: _Picture) -> None:
        try:
            picture.draw()
        except Exception as failure:  # the training's thread raises it
            self._failures.append(failure)
            return
        from PIL import Image

        client, run_id = self._open
        known = (self._resumes or picture.attempted) and has_image(client, run_id, picture.key, picture.step)
        if known:
            mark_images(client, run_id)
        else:
            picture.attempted = True
            with Image.open(io.BytesIO(picture.png)) as image:
                client.log_image(
                    run_id, image, key=picture.key, step=picture.step, timestamp=picture.milliseconds, synchronous=True
                )

    @cached_property
    def _open(self) -> "tuple[MlflowClient, str]":
        assert self._run is not None, "without a run there is no thread that sends"
        return client_of(self._run), self._run.run_id


def _now() -> int:
    return int(time.time() * 1000)
