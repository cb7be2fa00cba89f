"""Commands whose tables, models, scores and figures are in a bucket."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from glow_pipeline.images.table import ImageTable
from tests.project import copy_project, files_below, kedro, versions
from tests.s3_server import TestBucket

pytestmark = pytest.mark.slow

IN = "dataset=digits,ingest.classes=0+1+2+3+4"
OUT = "out_dataset=digits,ood.out_classes=5+6"
TINY = f"{IN},{OUT},train.n_epochs=1,model.K=1,model.L=2,model.hidden_channels=4,device=cpu"
COPIES = "02_intermediate/copies"


def in_the_bucket(project: Path, bucket: TestBucket) -> Path:
    """Write the environment of docs/storage.md."""
    (project / "conf" / "cluster").mkdir()
    folders = {"tables": "03_primary", "models": "06_models", "output": "07_model_output", "reporting": "08_reporting"}
    lines = [f"{name}: {bucket.address}/glow/{folder}\n" for name, folder in folders.items()]
    (project / "conf" / "cluster" / "globals.yml").write_text("".join(lines))
    return project


def command(project: Path, pipelines: str, params: str, *options: str) -> str:
    done = kedro(project, "run", *options, "--pipelines", pipelines, "--params", params)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return done.stdout


def images(table: ImageTable) -> bytes:
    return table[:][0].numpy().tobytes() + table.labels.numpy().tobytes() + table.content_hashes.tobytes()


def copied(project: Path, split: str) -> ImageTable:
    """Return the copy of a table that a command has read all of."""
    records = (project / "data" / COPIES).rglob("by-origin/*/record.json")
    (table,) = (table for table in map(ImageTable, (path.parent for path in records)) if table.record.split == split)
    return table


def test_commands_with_all_in_a_bucket(bucket: TestBucket, tmp_path: Path) -> None:
    project = in_the_bucket(copy_project(tmp_path / "one"), bucket)
    printed = command(project, "ingest,train,ood", f"{TINY},workers.part_images=300", "--env", "cluster")
    named = [line.split()[1] for line in printed.splitlines() if f" {bucket.address}" in line]
    assert len(named) >= 15
    names = {Path(key).name for key in bucket.objects}
    assert {"table.json", "glow_model.safetensors", "glow_detector.safetensors", "ood_scores.parquet"} < names
    assert {"ood_metrics.json", "ood_roc.png", "training_curves.png", "README.md"} < names
    # What is worked in under locks, and copies, are all that is on this disk.
    kept = {path.relative_to(project / "data").parts[0] for path in files_below(project / "data")}
    assert kept <= {"01_raw", "02_intermediate", "06_models"}
    assert not versions(project, "06_models/*/*.safetensors/*/*")
    # Another machine has nothing but its clone and the bucket.
    other = in_the_bucket(copy_project(tmp_path / "two"), bucket)
    command(other, "sample", f"{IN},device=cpu", "--env", "cluster")
    assert "AUROC" in command(other, "ood", f"{IN},{OUT},device=cpu", "--env", "cluster")
    (card,) = [text for key, text in bucket.objects.items() if key.endswith("README.md")]
    assert "AUROC" in card.decode()
    # Each clone knows its own runs, and the bucket is of both.
    stored, remove = dict(bucket.objects), ("versions", "--env", "cluster", "--remove", "all", "--yes")
    refused = kedro(project, *remove)
    assert refused.returncode == 1
    assert "may be of another project or clone" in refused.stdout
    assert bucket.objects == stored
    assert " in buckets; " in kedro(project, *remove, "--force").stdout
    assert bucket.objects == {}


def test_table_of_a_bucket_trains_the_same_model(bucket: TestBucket, tmp_path: Path) -> None:
    local = copy_project(tmp_path / "local")
    command(local, "ingest,train", TINY)
    project = in_the_bucket(copy_project(tmp_path / "far"), bucket)
    stage = f"{TINY},workers.part_images=200,train.stage={tmp_path / 'stage'}"
    command(project, "ingest,train", stage, "--env", "cluster")
    (table,) = versions(local, "03_primary/*/*/train/*/train")
    far = copied(project, "train")
    assert images(far) == images(ImageTable(table))
    (model,) = versions(local, "06_models/*/glow_model.safetensors/*/*.safetensors")
    (copy,) = versions(project, f"{COPIES}/s3/*/glow/06_models/*/glow_model.safetensors/*/*.safetensors")
    one, other = (weights(path) for path in (model, copy))
    assert one.keys() == other.keys()
    assert all(np.array_equal(one[name], other[name]) for name in one)


def weights(path: Path) -> dict[str, np.ndarray]:
    loaded: dict[str, np.ndarray] = load_file(path)
    return loaded


def test_array_commands_share_a_table_of_a_bucket(bucket: TestBucket, tmp_path: Path) -> None:
    local = copy_project(tmp_path / "local")
    command(local, "ingest", f"{IN},{OUT}")
    params = f"{IN},{OUT},workers.engine=array,workers.of=2,workers.part_images=100"
    machines = [in_the_bucket(copy_project(tmp_path / name), bucket) for name in ("one", "two")]
    printed = []
    with pytest.MonkeyPatch.context() as environment:
        for rank, project in enumerate(machines):
            environment.setenv("NODE_RANK", str(rank))
            printed.append(command(project, "ingest", params, "--env", "cluster"))
    assert "its share" in printed[0]
    assert "its share" not in printed[1]
    (table,) = versions(local, "03_primary/*/*/train/*/train")
    shutil.rmtree(machines[0] / "data")
    (machines[0] / "data").mkdir()
    command(machines[0], "train", f"{TINY},workers.part_images=100", "--env", "cluster")
    assert images(copied(machines[0], "train")) == images(ImageTable(table))


def test_other_models_of_a_benchmark_are_refused(bucket: TestBucket, tmp_path: Path) -> None:
    project = in_the_bucket(copy_project(tmp_path), bucket)
    command(project, "ingest,train", TINY, "--env", "cluster")
    params = f"{IN},device=cpu,benchmark.out_datasets=noise,benchmark.seeds=2"
    done = kedro(project, "run", "--env", "cluster", "--pipelines", "benchmark", "--params", params)
    assert done.returncode != 0
    assert "other models are found on a local disk alone, and glow_model is in a bucket" in done.stderr
