"""Figures, tables, metrics and MLflow's artifacts in S3."""

from pathlib import Path

import pytest

from tests.hooks.helpers import client_of, refused, runs
from tests.hooks.test_catalog_entries import METRICS, PICTURE, put
from tests.project import TINY, copy_project, run
from tests.s3_server import TestBucket

pytestmark = pytest.mark.slow

SCORES = "type: glow_pipeline.datasets.WholeFileDataset, dataset: {type: pandas.ParquetDataset}, versioned: true"


def with_credentials(project: Path, endpoint: str, **given: str) -> Path:
    """As a user would write them down."""
    (project / "conf" / "local").mkdir(exist_ok=True)
    options = "".join(f"{name}: {value}, " for name, value in given.items())
    (project / "conf" / "local" / "credentials.yml").write_text(
        f"store: {{{options}client_kwargs: {{endpoint_url: '{endpoint}', region_name: us-east-1}}}}\n"
    )
    return project


def test_every_command_stores_its_results_in_s3(
    bucket: TestBucket, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = bucket.server.url
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    project = with_credentials(copy_project(tmp_path), endpoint, key="me", secret="secret")
    at = f"credentials: store, filepath: '{bucket.address}/glow"
    put(
        project,
        f"train_metrics: {{{METRICS}, {at}/train.json', metadata: {{mlflow: metrics}}}}",
        f"samples: {{{PICTURE}, {at}/samples.png', metadata: {{mlflow: samples}}}}",
        f"ood_scores: {{{SCORES}, {at}/scores.parquet', metadata: {{mlflow: tables}}}}",
    )
    run(project, "train", **TINY)
    run(project, "sample", sample={"mode": "interpolate", "frames": 3, "keep_frames": True})
    run(project, "ood")
    names = sorted(key.rpartition("/")[2] for key in bucket.objects)
    frames = [f"frame_00{i}.png" for i in range(3)]
    assert names == [*frames, "samples.gif", "samples.mp4", "samples.png", "scores.parquet", "train.json"]
    printed = capsys.readouterr().out
    assert all(f"{bucket.address}/{key.rpartition('/frame_')[0] or key}" in printed for key in bucket.objects)
    client = client_of(project)
    ood, sample, train = runs(project)
    for done, folder, stored in (
        (train, "metrics", ["train.json"]),
        (ood, "tables", ["most_outlying.csv", "scores.parquet"]),
    ):
        assert [file.path for file in client.list_artifacts(done.info.run_id, folder)] == [
            f"{folder}/{name}" for name in stored
        ]
    shown = {file.path for file in client.list_artifacts(sample.info.run_id)}
    assert {"samples.gif", "samples.mp4", "samples_frames"} < shown
    assert not list(project.glob("s3*"))


def test_mlflows_artifacts_go_to_s3(bucket: TestBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("boto3", reason="boto3 is not installed")
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", bucket.server.url)
    project = copy_project(tmp_path)
    (project / "conf" / "local").mkdir(exist_ok=True)
    (project / "conf" / "local" / "mlflow.yml").write_text(f"artifacts: {bucket.address}/mlflow\n")
    run(project, "train", **TINY)
    (done,) = runs(project)
    assert f"mlflow/{done.info.run_id}/artifacts/training_curves.png" in bucket.objects
    assert not (project / "mlartifacts").exists()


def test_an_s3_that_does_not_answer_is_refused(tmp_path: Path) -> None:
    project = with_credentials(copy_project(tmp_path), "http://127.0.0.1:1", key="me", secret="secret")
    put(project, f"train_metrics: {{{METRICS}, credentials: store, filepath: 's3://bucket/train.json'}}")
    line = refused(project, "train", **TINY)
    assert line.startswith("s3://bucket/train.json: the storage refuses or does not answer")
