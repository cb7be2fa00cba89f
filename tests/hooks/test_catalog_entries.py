"""Entries that a user has put elsewhere in conf/local/catalog.yml."""

import importlib.util
import json
import uuid
from pathlib import Path

import fsspec
import pytest

from tests.hooks.helpers import client_of, refused, runs
from tests.project import TINY, copy_project, run
from tests.s3_server import TestBucket

METRICS = "type: glow_pipeline.datasets.WholeFileDataset, dataset: {type: json.JSONDataset}, versioned: true"
PICTURE = "type: glow_pipeline.datasets.PictureDataset, versioned: true"
MODEL = "type: glow_pipeline.datasets.GlowModelDataset"
TABLE = "type: glow_pipeline.datasets.ImageTableDataset"
FOLDER = "type: glow_pipeline.datasets.FolderDataset"


def put(project: Path, *entries: str) -> Path:
    """Write a catalog of the user's own."""
    (project / "conf" / "local").mkdir(exist_ok=True)
    (project / "conf" / "local" / "catalog.yml").write_text("\n".join(entries))
    return project


def test_a_run_stores_figures_and_metrics_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bucket = f"memory:///{uuid.uuid4().hex}"
    project = put(
        copy_project(tmp_path),
        f"train_metrics: {{{METRICS}, filepath: {bucket}/train.json, metadata: {{mlflow: metrics}}}}",
        f"training_curves: {{{PICTURE}, filepath: {bucket}/curves.png, metadata: {{mlflow: figures}}}}",
    )
    run(project, "train", **TINY)
    memory = fsspec.filesystem("memory")
    curves, train = memory.find(bucket)
    closing = {line.split()[0]: line.split()[1] for line in capsys.readouterr().out.splitlines() if "memory:" in line}
    assert closing == {"train_metrics": f"memory://{train}", "training_curves": f"memory://{curves}"}
    (done,) = runs(project)
    client = client_of(project)
    assert [file.path for file in client.list_artifacts(done.info.run_id, "metrics")] == ["metrics/train.json"]
    assert "curves.png" in [file.path for file in client.list_artifacts(done.info.run_id)]
    metrics = json.loads(memory.cat(train))
    assert done.data.metrics["test/bits_per_dim"] == metrics["test_bits_per_dim"]
    assert not list(project.glob("memory*"))


@pytest.mark.parametrize("entry", ["raw_folder", "checkpoints"])
def test_working_folder_in_a_bucket_is_refused(tmp_path: Path, entry: str) -> None:
    project = put(copy_project(tmp_path), f"{entry}: {{{FOLDER}, filepath: s3://bucket/name}}")
    line = refused(project, "train", **TINY)
    assert line.startswith(f"catalog.yml: {entry}: filepath=s3://bucket/name: ")
    assert line.endswith("give a local path")


@pytest.mark.parametrize(("entry", "kind"), [("glow_model", MODEL), ("train_images", TABLE)])
def test_model_or_table_in_other_storage_is_refused(tmp_path: Path, entry: str, kind: str) -> None:
    project = put(copy_project(tmp_path), f"{entry}: {{{kind}, filepath: 'ftp://host/name'}}")
    line = refused(project, "train", **TINY)
    assert line.startswith(f"catalog.yml: {entry}: filepath=ftp://host/name: ")
    assert line.endswith("give a local path, or such an address")


@pytest.mark.skipif(importlib.util.find_spec("smbprotocol") is not None, reason="smbprotocol is installed")
def test_a_missing_package_is_named_before_anything_starts(tmp_path: Path) -> None:
    project = put(copy_project(tmp_path), f"train_metrics: {{{METRICS}, filepath: 'smb://host/name.json'}}")
    assert 'requires "smbprotocol"' in refused(project, "train", **TINY)


@pytest.mark.parametrize("entry", ["glow_model", "train_metrics"])
def test_missing_bucket_is_refused_before_anything_starts(tmp_path: Path, bucket: TestBucket, entry: str) -> None:
    kind = {"glow_model": f"{MODEL}, versioned: true"}.get(entry, METRICS)
    project = put(copy_project(tmp_path), f"{entry}: {{{kind}, filepath: 's3://missing/x'}}")
    line = refused(project, "train", **TINY)
    assert "s3://missing/x: there is no bucket missing; make it" in line
    assert not list((project / "data").rglob("*.npy"))


def test_a_storage_that_does_not_answer_is_refused(tmp_path: Path) -> None:
    project = put(
        copy_project(tmp_path),
        f"train_metrics: {{{METRICS}, filepath: 'ftp://127.0.0.1:1/metrics.json'}}",
    )
    assert refused(project, "train", **TINY).startswith("catalog.yml: train_metrics: ")


def test_an_unknown_argument_is_one_line(tmp_path: Path) -> None:
    project = put(copy_project(tmp_path), f"train_metrics: {{{METRICS}, filepath: a.json, version_d: true}}")
    assert "version_d" in refused(project, "train", **TINY)
