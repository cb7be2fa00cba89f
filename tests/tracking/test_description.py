"""Descriptions of runs, experiments and models in a real store."""

from pathlib import Path

import pytest
from mlflow import MlflowClient
from PIL import Image

from glow_pipeline.tracking.command_run import CommandRun
from glow_pipeline.tracking.destination import Destination, TrackingConfig, destination
from glow_pipeline.tracking.experiment import EXPERIMENT_TAGS, NOTE
from glow_pipeline.tracking.images import WIDEST
from glow_pipeline.tracking.run_pages import first_pages
from glow_pipeline.tracking.start import start_run
from tests.project import new_mlflow_database

TAGS = {"pipeline": "train", "dataset": "digits"}


@pytest.fixture
def place(tmp_path: Path) -> Destination:
    (tmp_path / "mlflow.db").write_bytes(new_mlflow_database())
    config = TrackingConfig(enabled=True, tracking_uri=None, experiment=None, artifacts=None)
    return destination(config, tmp_path, {})


@pytest.fixture
def client(place: Destination) -> MlflowClient:
    return MlflowClient(place.tracking_uri)


def started(place: Destination, resumed: str | None = None, **params: object) -> CommandRun:
    return start_run(place, "train digits", params, TAGS, resumed)


def note(client: MlflowClient, run: CommandRun) -> str:
    return client.get_run(run.address.run_id).data.tags[NOTE]


def test_edited_description_is_not_overwritten(place: Destination, client: MlflowClient) -> None:
    with started(place) as run:
        run.describe("at the start")
        run.describe("at the end")
        assert note(client, run) == "at the end"
        client.set_tag(run.address.run_id, NOTE, "my own words")
        run.describe("later")
        assert note(client, run) == "my own words"
    with started(place) as other:
        client.set_tag(other.address.run_id, NOTE, "written first")
        other.describe("at the start")
        assert note(client, other) == "written first"


def test_long_description_is_cut_and_still_ours(place: Destination, client: MlflowClient) -> None:
    with started(place) as run:
        run.describe("a" * 10_000)
        assert len(note(client, run)) == 8000
        run.describe("short")
        assert note(client, run) == "short"


def test_experiment_is_of_model_training_with_a_description(place: Destination, client: MlflowClient) -> None:
    with started(place):
        pass
    assert EXPERIMENT_TAGS.items() <= client.get_experiment("1").tags.items()


def test_experiments_own_tags_are_kept(place: Destination, client: MlflowClient) -> None:
    client.create_experiment("glow_pipeline", tags={"mlflow.experimentKind": "genai_development", NOTE: "mine"})
    with started(place):
        pass
    tags = client.get_experiment("1").tags
    assert (tags["mlflow.experimentKind"], tags[NOTE]) == ("genai_development", "mine")
    assert tags["mlflow.experiment.primaryMetric.name"] == "val/bits_per_dim"


def test_refused_tags_of_experiment_are_a_warning(
    place: Destination, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("glow_pipeline.tracking.experiment.EXPERIMENT_TAGS", {"not a key!": "x"})
    with started(place) as run:
        run.log_figures({"val/bits_per_dim": 1.0}, step=0)
    (warning,) = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert "MLflow does not record what kind of experiment this is" in warning


def test_picture_is_a_file_and_an_image(place: Destination, client: MlflowClient, tmp_path: Path) -> None:
    Image.new("RGB", (2 * WIDEST, WIDEST)).save(tmp_path / "curves.png")
    with started(place) as run:
        run.log_picture(tmp_path / "curves.png", "figures/curves")
    with started(place, resumed=run.address.run_id) as again:
        again.log_picture(tmp_path / "curves.png", "figures/curves")
    run_id = run.address.run_id
    assert [file.path for file in client.list_artifacts(run_id) if not file.is_dir] == ["curves.png"]
    images = [file.path for file in client.list_artifacts(run_id, "images") if file.path.endswith(".png")]
    assert [path.partition("+timestamp")[0] for path in images] == [
        "images/figures~curves+step+0",
        "images/figures~curves+step+1",
    ]
    with Image.open(client.download_artifacts(run_id, images[0])) as image:
        assert image.size == (WIDEST, WIDEST // 2)
    assert client.get_run(run_id).data.tags["mlflow.loggedImages"] == "True"


def test_models_page_has_its_card(place: Destination, client: MlflowClient) -> None:
    with started(place) as run:
        run.describe_model("nothing to describe yet")
        run.register_model("glow", {"K": 1}, {}, "{}")
        run.describe_model("# Model card")
        (model,) = client.search_logged_models(["1"])
        assert model.tags[NOTE] == "# Model card"
        run.describe_model("# Model card\n" + "a line\n" * 2000)
        (model,) = client.search_logged_models(["1"])
    assert len(model.tags[NOTE]) <= 8000
    assert model.tags[NOTE].endswith(
        "a line\n\n(The rest is in the file of the card, among the artifacts of the model's run.)"
    )


def test_pages_compare_with_the_run_before(place: Destination, client: MlflowClient) -> None:
    with started(place, lr=0.1) as first:
        assert first.prepare_pages("train", "digits").compared is None
    with started(place, lr=0.2) as second:
        pages = second.prepare_pages("train", "digits")
        other = second.prepare_pages("train", "mnist")
    assert pages.compared == second.pages.compare([first.address.run_id, second.address.run_id])
    assert other.compared is None
    assert "viewStateShareKey=train-digits" in pages.kind
    assert {"mlflow.sharedViewState.train-digits", "mlflow.sharedViewState.train-mnist"} <= client.get_experiment(
        "1"
    ).tags.keys()


def test_first_pages_are_of_the_newest_run(place: Destination) -> None:
    assert first_pages(place.tracking_uri, place.experiment, "http://ui") == []
    for _ in range(2):
        with started(place) as run:
            pass
    titles, addresses = zip(*first_pages(place.tracking_uri, place.experiment, "http://ui"), strict=True)
    assert titles == ("all runs", "the newest run", "with the one before", "runs like it", "as charts")
    assert f"/runs/{run.address.run_id}?" in addresses[1]


def test_training_begun_under_old_names_has_all_epochs(place: Destination, client: MlflowClient) -> None:
    """A run of a version without prefixes, whose training is resumed: its past is logged under the new names too."""
    from glow_pipeline.tracking.metric_logger import MetricLogger
    from glow_pipeline.training.epoch_samples import EpochSamples
    from glow_pipeline.training.history import History
    from glow_pipeline.training.reporter import MlflowReporter

    with started(place) as run:
        client.log_metric(run.address.run_id, "val_bits_per_dim", 3.0, step=10)
    epochs: list[dict[str, int | float]] = [{"epoch": 1, "val_bits_per_dim": 3.0, "step": 10}]
    with started(place, resumed=run.address.run_id), MetricLogger(run.address) as logger:
        reporter = MlflowReporter(logger, EpochSamples(0, 1.0), given_class=False)
        reporter.catch_up(History(epochs))
        reporter.epoch({"epoch": 2, "val_bits_per_dim": 2.0}, 20)
    points = client.get_metric_history(run.address.run_id, "val/bits_per_dim")
    assert [(point.step, point.value) for point in points] == [(10, 3.0), (20, 2.0)]
    assert len(client.get_metric_history(run.address.run_id, "val_bits_per_dim")) == 1
