"""Figures, tables, metrics and MLflow's artifacts in S3, which moto plays on loopback."""

import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import pytest

from tests.hooks.helpers import client_of, refused, runs
from tests.hooks.test_catalog_entries import METRICS, PICTURE, put
from tests.project import TINY, copy_project, free_port, run

pytest.importorskip("s3fs", reason="s3fs is not installed")
boto3 = pytest.importorskip("boto3", reason="boto3 is not installed")
pytest.importorskip("moto.server", reason="moto[server] is not installed")
pytestmark = pytest.mark.slow

SCORES = "type: glow_pipeline.datasets.WholeFileDataset, dataset: {type: pandas.ParquetDataset}, versioned: true"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    address = f"http://127.0.0.1:{(port := free_port())}"
    process = subprocess.Popen([sys.executable, "-m", "moto.server", "-p", str(port)], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with suppress(OSError), urllib.request.urlopen(address, timeout=2):
                break
            time.sleep(0.1)
        yield address
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def s3(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client; `bucket` is there and empty."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "me",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", endpoint)
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    client.create_bucket(Bucket="bucket")
    for key in keys(client):
        client.delete_object(Bucket="bucket", Key=key)
    return client


def keys(client: Any) -> list[str]:
    return [stored["Key"] for stored in client.list_objects_v2(Bucket="bucket").get("Contents", [])]


def with_credentials(project: Path, endpoint: str, **given: str) -> Path:
    """As a user would write them down."""
    (project / "conf" / "local").mkdir(exist_ok=True)
    options = "".join(f"{name}: {value}, " for name, value in given.items())
    (project / "conf" / "local" / "credentials.yml").write_text(
        f"store: {{{options}client_kwargs: {{endpoint_url: '{endpoint}', region_name: us-east-1}}}}\n"
    )
    return project


def test_every_command_stores_its_results_in_s3(
    s3: Any, endpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = with_credentials(copy_project(tmp_path), endpoint, key="me", secret="secret")
    at = "credentials: store, filepath: 's3://bucket/glow"
    put(
        project,
        f"train_metrics: {{{METRICS}, {at}/train.json', metadata: {{mlflow: metrics}}}}",
        f"samples: {{{PICTURE}, {at}/samples.png', metadata: {{mlflow: samples}}}}",
        f"ood_scores: {{{SCORES}, {at}/scores.parquet', metadata: {{mlflow: tables}}}}",
    )
    run(project, "train", **TINY)
    run(project, "sample", sample={"mode": "interpolate", "frames": 3, "keep_frames": True})
    run(project, "ood")
    names = sorted(key.rpartition("/")[2] for key in keys(s3))
    frames = [f"frame_00{i}.png" for i in range(3)]
    assert names == [*frames, "samples.gif", "samples.mp4", "samples.png", "scores.parquet", "train.json"]
    printed = capsys.readouterr().out
    assert all(f"s3://bucket/{key.rpartition('/frame_')[0] or key}" in printed for key in keys(s3))
    client = client_of(project)
    ood, sample, train = runs(project)
    for done, folder, stored in (
        (train, "metrics", ["train.json"]),
        (sample, "samples", ["samples.gif", "samples.mp4", "samples.png", "samples_frames"]),
        (ood, "tables", ["most_outlying.csv", "scores.parquet"]),
    ):
        assert [file.path for file in client.list_artifacts(done.info.run_id, folder)] == [
            f"{folder}/{name}" for name in stored
        ]
    assert not list(project.glob("s3*"))


def test_mlflows_artifacts_go_to_s3(s3: Any, tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    (project / "conf" / "local").mkdir(exist_ok=True)
    (project / "conf" / "local" / "mlflow.yml").write_text("artifacts: s3://bucket/mlflow\n")
    run(project, "train", **TINY)
    (done,) = runs(project)
    assert f"mlflow/{done.info.run_id}/artifacts/training_curves.png" in keys(s3)
    assert not (project / "mlartifacts").exists()


def test_an_s3_that_does_not_answer_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    project = with_credentials(copy_project(tmp_path), "http://127.0.0.1:1", key="me", secret="secret")
    put(project, f"train_metrics: {{{METRICS}, credentials: store, filepath: 's3://bucket/train.json'}}")
    line = refused(project, "train", **TINY)
    assert line.startswith("catalog.yml: train_metrics: Could not connect to the endpoint URL")


def test_a_bucket_that_is_missing_is_one_line(s3: Any, endpoint: str, tmp_path: Path) -> None:
    project = with_credentials(copy_project(tmp_path), endpoint, key="me", secret="secret")
    put(project, f"train_metrics: {{{METRICS}, credentials: store, filepath: 's3://missing/train.json'}}")
    with pytest.raises(
        click.ClickException, match=r"^s3://missing/train.json/.*train.json: cannot be written \("
    ) as error:
        run(project, "train", **TINY)
    assert len(error.value.message.splitlines()) == 1
    assert [done.info.status for done in runs(project)] == ["FAILED"]
