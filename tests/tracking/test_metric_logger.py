"""The sender of metrics to MLflow."""

import logging
import math
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import pytest
from matplotlib.figure import Figure
from sqlalchemy.exc import OperationalError

from glow_pipeline.tracking import metric_logger
from glow_pipeline.tracking.metric_logger import MetricLogger
from glow_pipeline.tracking.runs import RunAddress, client_of
from tests.mlflow_server import MlflowServer, StubServer, serving


def until(holds: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def _logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="glow_pipeline")


@pytest.fixture
def stub(tmp_path: Path) -> StubServer:
    return StubServer(tmp_path / "artifacts")


@pytest.fixture
def run(stub: StubServer) -> Iterator[RunAddress]:
    with serving(stub) as address:
        yield RunAddress(address, uuid.uuid4().hex)  # MLflow remembers where a run's artifacts are


def test_an_epoch_is_one_request_with_one_time(stub: StubServer, run: RunAddress) -> None:
    before = time.time() * 1000
    with MetricLogger(run) as logger:
        logger.log_metrics({"loss": 1.5, "lr": 0.1}, 10)
        after = time.time() * 1000
        logger.log_metrics({"loss": math.inf, "lr": math.nan}, 20)
    first, second = stub.batches
    assert [(key, value, step) for key, value, _, step in first] == [("loss", 1.5, 10), ("lr", 0.1, 10)]
    (taken,) = {milliseconds for _, _, milliseconds, _ in first}
    assert before - 1 <= taken <= after + 1
    assert all(math.isnan(value) for _, value, _, _ in second), "its databases would keep infinity as 1.8e308"


def test_metrics_reach_a_server_that_was_away(
    stub: StubServer, run: RunAddress, caplog: pytest.LogCaptureFixture
) -> None:
    stub.away = True
    with MetricLogger(run, longest_pause=0.05) as logger:
        logger.log_metrics({"loss": 0.0}, 0)
        logged_until = time.time() * 1000
        until(lambda: stub.calls >= 6)
        for step in range(1, 30):
            logger.log_metrics({"loss": 1 / step}, step)
        stub.away = False
    assert stub.steps() == list(range(30))
    assert stub.batches[0][0][2] <= logged_until + 1, "the time is that of logging, not of sending"
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "training continues" in caplog.messages[0]


def test_logging_never_waits_for_a_server_that_hangs(stub: StubServer, run: RunAddress) -> None:
    with MetricLogger(run) as logger:
        stub.hangs.clear()
        logger.log_metrics({"loss": 0.0}, 0)
        until(lambda: stub.calls == 1)  # the thread is in the middle of a request
        for step in range(1, 100):
            logger.log_metrics({"loss": 0.0, "lr": 0.0}, step)
        assert stub.calls == 1, "no call waited until that request was given up, after 6 seconds"
        stub.hangs.set()
    assert stub.steps() == list(range(100))


@pytest.mark.parametrize("how", ["away", "hangs"])
def test_close_gives_up_and_names_the_loss(
    stub: StubServer, run: RunAddress, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    with MetricLogger(run, patience=0.5) as logger:
        logger.log_metrics({"loss": 0.0}, 5)
        until(lambda: not logger._rows)
        assert stub.steps() == [5]
        if how == "hangs":
            stub.hangs.clear()
        stub.away = True
        for step in (10, 20, 30):
            logger.log_metrics({"loss": 0.0}, step)
        logger.log_figure(Figure, "samples", 1)
        if how == "away":
            until(lambda: len(caplog.messages) == 1)
        started = time.monotonic()
    assert 0.4 < time.monotonic() - started < 5, "half a second, and not the 6 of a request"
    last = caplog.messages[-1]
    assert "1 figures and 3 rows of metrics, of steps 10, 20, 30" in last
    assert "checkpoint" in last
    assert len(caplog.messages) == (2 if how == "away" else 1)
    reported = len(caplog.messages)
    logger.close()
    stub.hangs.set()
    time.sleep(0.2)
    assert len(caplog.messages) == reported, "neither closing again nor a late answer says anything"
    assert stub.steps() == [5], "nothing comes after it was said to be lost"


def test_refused_metrics_are_dropped_with_one_warning(
    stub: StubServer, run: RunAddress, caplog: pytest.LogCaptureFixture
) -> None:
    stub.refused = {20, 30}
    with MetricLogger(run) as logger:
        for step in (10, 20, 30, 40):
            logger.log_metrics({"loss": 0.0}, step)
    assert stub.steps() == [10, 40]
    assert caplog.messages == [
        "MLflow refuses metrics or figures, which are left out (INVALID_PARAMETER_VALUE: no such step)"
    ]


def test_metrics_reach_a_database_that_was_locked(
    stub: StubServer, run: RunAddress, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow's store of a database then raises what SQLAlchemy does, as it is."""
    opened, locked = client_of, [True]

    def locked_or_open(address: RunAddress) -> mlflow.MlflowClient:
        if locked:
            raise OperationalError("select 1", {}, sqlite3.OperationalError("database is locked"))
        return opened(address)

    monkeypatch.setattr(metric_logger, "client_of", locked_or_open)
    monkeypatch.setattr(metric_logger, "FIRST_PAUSE", 0.05)
    with MetricLogger(run) as logger:
        logger.log_metrics({"loss": 1.0}, 10)
        until(lambda: len(caplog.messages) == 1)
        locked.clear()
        logger.log_metrics({"loss": 2.0}, 20)
    assert stub.steps() == [10, 20]
    assert caplog.messages == [
        "MLflow cannot be reached; training continues, metrics are kept and sent later (database is locked)",
        "MLflow is back, and has what was kept",
    ]


def test_failing_figures_do_not_delay_metrics(
    stub: StubServer, run: RunAddress, caplog: pytest.LogCaptureFixture
) -> None:
    stub.artifacts.write_bytes(b"a file where the folder should be")
    with MetricLogger(run, patience=0.5, longest_pause=0.05) as logger:
        logger.log_figure(Figure, "samples", 1)
        until(lambda: len(caplog.messages) == 1)
        logger.log_metrics({"loss": 0.0}, 10)
        until(lambda: not logger._rows)
    assert stub.steps() == [10]
    assert "1 figures" in caplog.messages[-1]
    assert "rows" not in caplog.messages[-1]


def test_figures_are_drawn_by_the_thread(stub: StubServer, run: RunAddress) -> None:
    drawing: list[str] = []

    def figure() -> Figure:
        drawing.append(threading.current_thread().name)
        return Figure()

    with MetricLogger(run) as logger:
        logger.log_figure(figure, "samples/by_epoch", 1)
        logger.log_figure(figure, "last", 0)
    assert drawing == ["metric_logger"] * 2
    (png,) = images_of(stub, "samples~by_epoch+step+1")
    assert png.read_bytes().startswith(b"\x89PNG")
    assert len(images_of(stub, "last+step+0")) == 1
    assert stub.tags == {"mlflow.loggedImages": "True"}


def test_figure_that_waits_is_drawn_once(stub: StubServer, run: RunAddress) -> None:
    drawn: list[str] = []

    def figure() -> Figure:
        drawn.append("last.png")
        return Figure()

    away = stub.artifacts
    away.write_bytes(b"a file where the folder should be")
    with MetricLogger(run, longest_pause=0.05) as logger:
        logger.log_figure(figure, "last", 0)
        until(lambda: len(drawn) == 1)
        time.sleep(0.3)  # for some attempts
        away.unlink()
    assert drawn == ["last.png"]
    assert len(images_of(stub, "last+step+0")) == 1


def test_image_whose_tag_failed_is_sent_once(stub: StubServer, run: RunAddress) -> None:
    stub.refuses_tags = True
    with MetricLogger(run, longest_pause=0.05) as logger:
        logger.log_figure(Figure, "samples", 1)
        until(lambda: stub.tag_calls > 2)
        stub.refuses_tags = False
    assert len(images_of(stub, "samples+step+1")) == 1
    assert stub.tags == {"mlflow.loggedImages": "True"}


def test_resumed_training_repeats_no_image(stub: StubServer, run: RunAddress) -> None:
    with MetricLogger(run) as logger:
        logger.log_figure(Figure, "samples", 1)
        logger.log_figure(Figure, "samples", 2)
    with MetricLogger(run) as logger:
        logger.catch_up([])
        for epoch in (2, 3, 12):
            logger.log_figure(Figure, "samples", epoch)
    assert [len(images_of(stub, f"samples+step+{epoch}")) for epoch in (1, 2, 3, 12)] == [1, 1, 1, 1]


def images_of(stub: StubServer, start: str) -> list[Path]:
    """The images in full size of this key and step."""
    return sorted((stub.artifacts / "images").glob(f"{start}+*.png"))


def no_figure() -> Figure:
    raise ValueError("no such font")


def log_after_a_failed_figure(run: RunAddress, then: Callable[[MetricLogger], None]) -> None:
    all_logged = threading.Event()

    def no_figure_yet() -> Figure:
        all_logged.wait()
        return no_figure()

    with MetricLogger(run) as logger:
        logger.log_figure(no_figure_yet, "first", 0)
        logger.log_figure(Figure, "second", 0)
        logger.log_metrics({"loss": 1.0}, 10)
        all_logged.set()
        then(logger)


def test_failed_figure_is_raised_by_a_later_call(stub: StubServer, run: RunAddress) -> None:
    def log_more(logger: MetricLogger) -> None:
        until(lambda: bool(images_of(stub, "second+step+0")))
        logger.log_metrics({"loss": 2.0}, 20)
        raise AssertionError("the call did not raise")

    with pytest.raises(ValueError, match="no such font"):
        log_after_a_failed_figure(run, log_more)
    assert stub.steps() == [10]


def test_failed_figure_is_raised_at_the_end(stub: StubServer, run: RunAddress) -> None:
    with pytest.raises(ValueError, match="no such font"):
        log_after_a_failed_figure(run, lambda _: None)
    assert stub.steps() == [10]
    assert images_of(stub, "second+step+0")


def test_failed_figure_hides_no_other_error(run: RunAddress) -> None:
    def interrupted(_: MetricLogger) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        log_after_a_failed_figure(run, interrupted)


def test_thread_lets_the_training_continue_first(
    stub: StubServer, run: RunAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    with MetricLogger(run) as logger:
        started = time.monotonic()
        logger.log_metrics({"loss": 1.0}, 10)
        until(lambda: stub.steps() == [10])
        assert time.monotonic() - started >= metric_logger.LULL
        monkeypatch.setattr(metric_logger, "LULL", 60.0)
        logger.log_metrics({"loss": 2.0}, 20)
    assert stub.steps() == [10, 20], "the end does not wait"


def test_all_rows_arrive_in_order_beside_figures(stub: StubServer, run: RunAddress) -> None:
    with MetricLogger(run) as logger:
        for step in range(200):
            logger.log_metrics({"loss": 1 / (1 + step), "lr": 0.1}, step)
            if step % 20 == 0:
                logger.log_figure(Figure, "samples", step)
            time.sleep(0.002)  # so that the thread works meanwhile
    assert [[(key, at) for key, _, _, at in batch] for batch in stub.batches] == [
        [("loss", step), ("lr", step)] for step in range(200)
    ]
    assert all(len(images_of(stub, f"samples+step+{step}")) == 1 for step in range(0, 200, 20))


def test_catch_up_logs_only_missing_steps(stub: StubServer, run: RunAddress) -> None:
    with MetricLogger(run) as logger:
        logger.log_metrics({"loss": 1.0, "lr": 0.1}, 10)
        logger.log_metrics({"loss": 2.0}, 20)
        logger.log_metrics({"loss": 4.0, "lr": 0.1}, 40)  # of an epoch after the checkpoint
    stub.away = True
    with MetricLogger(run, longest_pause=0.05) as logger:
        logger.catch_up([({"loss": step / 10, "lr": 0.1}, step) for step in (10, 20, 30)])
        until(lambda: stub.calls >= 8)
        stub.away = False
        logger.log_metrics({"loss": 4.0, "lr": 0.1}, 40)
        logger.log_metrics({"loss": 5.0, "lr": 0.1, "new": 0.0}, 50)
        logger.log_metrics({"loss": 5.0, "lr": 0.1, "new": 0.0}, 50)
    assert [[(key, step) for key, _, _, step in batch] for batch in stub.batches[3:]] == [
        [("lr", 20)],
        [("loss", 30), ("lr", 30)],
        [("loss", 50), ("lr", 50), ("new", 50)],
    ]
    assert sorted(stub.requested) == ["loss", "lr", "new"], "each is asked for once"


def test_without_a_run_nothing_is_sent() -> None:
    with MetricLogger(None) as logger:
        logger.catch_up([({"loss": 0.0}, 1)])
        logger.log_metrics({"loss": 0.0}, 2)
        logger.log_figure(no_figure, "never_drawn", 0)


@pytest.mark.slow
def test_restarted_server_gets_everything_once(server: MlflowServer) -> None:
    client = mlflow.MlflowClient(server.address)
    run = RunAddress(server.address, client.create_run("0").info.run_id)
    with MetricLogger(run, longest_pause=1) as logger:
        logger.log_metrics({"loss": 3.0, "lr": math.nan}, 10)
        until(lambda: len(server.points(run.run_id, "loss")) == 1)
        server.kill()
        for step in (20, 30):
            logger.log_metrics({"loss": 3.0, "lr": 0.1}, step)
            logger.log_figure(Figure, "samples", step)
        time.sleep(1)
        server.start()
        logger.log_metrics({"loss": 3.0, "lr": 0.1}, 40)
    assert server.points(run.run_id, "loss") == [(10, 3.0), (20, 3.0), (30, 3.0), (40, 3.0)]
    assert server.points(run.run_id, "lr") == [(10, None), (20, 0.1), (30, 0.1), (40, 0.1)]
    images = [file.path for file in client.list_artifacts(run.run_id, "images") if file.path.endswith(".png")]
    assert sorted(path.split("+")[2] for path in images) == ["20", "30"]

    with MetricLogger(run) as resumed:  # from a checkpoint after step 20
        resumed.catch_up([({"loss": 3.0, "lr": 0.1}, step) for step in (10, 20)])
        for step in (30, 40, 50):
            resumed.log_metrics({"loss": 3.0, "lr": 0.1}, step)
    for key in ("loss", "lr"):
        assert [step for step, _ in server.points(run.run_id, key)] == [10, 20, 30, 40, 50]
