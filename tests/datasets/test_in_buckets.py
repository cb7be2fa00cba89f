"""Entries of the catalog in a bucket: models, detectors, cards, folders, figures and tables."""

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from kedro.io import DatasetError, Version

from glow_pipeline.datasets import (
    GlowDetectorDataset,
    GlowModelDataset,
    ModelCardDataset,
    PictureDataset,
    WholeFileDataset,
    WrittenFolderDataset,
)
from glow_pipeline.datasets.bucket_files import BucketFiles
from glow_pipeline.datasets.places import COPIES
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.training.model_card import ModelCard
from tests.datasets.test_glow_detector import made
from tests.datasets.test_glow_model import trained
from tests.datasets.test_picture import figure
from tests.datasets.test_written_folder import Writer
from tests.s3_server import TestBucket

DAY = "2026-01-{:02}T00.00.00.000Z"
MODEL = "glow_model.safetensors"


@pytest.fixture(autouse=True)
def own_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def forget_copies() -> None:
    """Be another machine."""
    shutil.rmtree(COPIES, ignore_errors=True)


def model(bucket: TestBucket, day: int, **given: Any) -> GlowModelDataset:
    return GlowModelDataset(filepath=f"{bucket.address}/m/{MODEL}", version=Version(None, DAY.format(day)), **given)


def card(bucket: TestBucket, day: int) -> ModelCardDataset:
    return ModelCardDataset(filepath=f"{bucket.address}/m/{MODEL}", version=Version(None, DAY.format(day)))


def detector(bucket: TestBucket, day: int) -> GlowDetectorDataset:
    address = f"{bucket.address}/m/glow_detector.safetensors"
    return GlowDetectorDataset(filepath=address, version=Version(None, DAY.format(day)))


def folder(bucket: TestBucket, day: int) -> WrittenFolderDataset:
    return WrittenFolderDataset(filepath=f"{bucket.address}/maps", version=Version(None, DAY.format(day)))


def metrics(bucket: TestBucket, day: int, **given: Any) -> WholeFileDataset:
    version = Version(None, DAY.format(day))
    return WholeFileDataset(
        filepath=f"{bucket.address}/metrics.json", dataset={"type": "json.JSONDataset"}, version=version, **given
    )


def test_model_is_loaded_on_another_machine(bucket: TestBucket) -> None:
    assert not model(bucket, 1).exists()
    saved = trained(epochs=5)
    model(bucket, 1).save(saved)
    assert set(bucket.objects) == {f"m/{MODEL}/{DAY.format(1)}/{MODEL}"}
    forget_copies()
    entry = model(bucket, 2)
    assert entry.exists()
    assert entry.record() == saved.record
    weights = entry.load().flow.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in saved.flow.state_dict().items())
    assert entry.why_this_one == "the newest"


def test_newest_and_named_models_are_found(bucket: TestBucket) -> None:
    for day in (1, 2):
        model(bucket, day).save(trained(epochs=day))
    forget_copies()
    assert model(bucket, 3).record().epochs == 2
    assert model(bucket, 3).list_versions(full_path=False) == [DAY.format(2), DAY.format(1)]
    chosen = model(bucket, 3)
    chosen.choose(DAY.format(1))
    assert chosen.record().epochs == 1
    assert chosen.why_this_one == "as chosen"
    chosen.choose(DAY.format(4))
    assert not chosen.exists()
    assert chosen.load_path.parent.name == DAY.format(4)


def test_model_is_fetched_once(bucket: TestBucket) -> None:
    model(bucket, 1).save(trained(epochs=1))
    forget_copies()
    entry = model(bucket, 2)
    entry.load()
    bucket.server.forget()
    entry.load()
    assert bucket.server.requests["get"] == 0


def test_refused_upload_leaves_no_version(bucket: TestBucket, tmp_path: Path) -> None:
    bucket.server.failure = lambda kind, key, count: 403 if "put" in kind or "upload" in kind else None
    with pytest.raises(DatasetError) as error:
        model(bucket, 1).save(trained(epochs=1))
    assert isinstance(error.value.__cause__, GlowPipelineError)
    assert not model(bucket, 2).exists()
    assert not [path for path in tmp_path.rglob("*.safetensors") if path.is_file()]


def test_refused_listing_is_no_missing_model(bucket: TestBucket) -> None:
    bucket.server.failure = lambda kind, key, count: 403
    with pytest.raises(GlowPipelineError, match="ACCESS_DENIED"):
        model(bucket, 1).exists()


def test_detectors_of_all_versions_have_files(bucket: TestBucket) -> None:
    for day in (1, 2):
        detector(bucket, day).save(made(draws=day))
    forget_copies()
    later = detector(bucket, 3)
    assert later.load().record.draws == 2
    assert [path.parent.name for path in later.files] == [DAY.format(2), DAY.format(1)]
    later.choose(later.files[1])
    assert later.load().record.draws == 1


def test_card_is_stored_beside_its_model(bucket: TestBucket) -> None:
    model(bucket, 1).save(trained(epochs=1))
    card(bucket, 1).save(ModelCard("# A page", b"png", None, DAY.format(1)))
    names = {key.rpartition("/")[2] for key in bucket.objects}
    assert names == {MODEL, "README.md", "samples.png"}
    forget_copies()
    assert card(bucket, 2).load().markdown == "# A page"


def test_shown_card_is_the_newest_and_fetches_no_model(bucket: TestBucket) -> None:
    model(bucket, 1).save(trained(epochs=1))
    card(bucket, 1).save(ModelCard("# A page", b"png", None, DAY.format(1)))
    bucket.server.objects[bucket.name][f"m/{MODEL}/{DAY.format(1)}/README.md"] = b"# Of another machine"
    bucket.server.forget()
    assert card(bucket, 2).load().markdown == "# Of another machine"
    assert "Of another machine" in card(bucket, 2).preview()
    assert bucket.server.requests["get"] == 4  # the page and the picture, twice


def test_folder_removed_while_it_is_fetched_is_none(bucket: TestBucket) -> None:
    folder(bucket, 1).save(Writer())
    forget_copies()
    bucket.server.failure = lambda kind, key, count: 404 if kind == "head" and key.endswith("a.txt") else None
    with pytest.raises(DatasetError, match="is not there any more; load another version"):
        folder(bucket, 2).load()
    del bucket.server.objects[bucket.name][f"maps/{DAY.format(1)}/maps/.complete"]
    bucket.server.forget()
    incomplete = WrittenFolderDataset(filepath=f"{bucket.address}/maps", version=Version(DAY.format(1), DAY.format(2)))
    with pytest.raises(DatasetError, match="is not there any more; load another version"):
        incomplete.load()
    assert not list(Path(COPIES).rglob("a.txt"))


def test_edited_card_is_uploaded_last_and_alone(bucket: TestBucket) -> None:
    model(bucket, 1).save(trained(epochs=1))
    forget_copies()
    with model(bucket, 2).editing_folder("README.md") as local:
        for name in ("README.md", "a", "z"):
            (local / name).write_text(name)
    uploaded = [key.rpartition("/")[2] for key in bucket.objects]
    assert uploaded == [MODEL, "a", "z", "README.md"]
    forget_copies()
    with model(bucket, 2).editing_folder("README.md") as local:
        assert (local / "a").read_text() == "a"
        bucket.server.forget()
    assert bucket.server.requests["put"] == 0


def test_folder_is_there_with_its_last_file(bucket: TestBucket) -> None:
    bucket.server.failure = lambda kind, key, count: 403 if key.endswith(".complete") and "put" in kind else None
    with pytest.raises(DatasetError):
        folder(bucket, 1).save(Writer())
    assert f"maps/{DAY.format(1)}/maps/a.txt" in bucket.objects
    assert not folder(bucket, 2).exists()
    bucket.server.forget()
    folder(bucket, 2).save(Writer())
    forget_copies()
    assert (folder(bucket, 3).load() / "a.txt").read_text() == "a"
    assert folder(bucket, 3).resolve_load_version() == DAY.format(2)


def test_pictures_and_tables_are_loaded_as_saved(bucket: TestBucket) -> None:
    picture = PictureDataset(filepath=f"{bucket.address}/a.png", version=Version(None, DAY.format(1)))
    picture.save(figure())
    assert picture.load().size == (240, 120)
    assert picture.exists()
    frame = pd.DataFrame({"source": ["a", "b"], "score": [0.1, 1e-300]})
    table = WholeFileDataset(filepath=f"{bucket.address}/t", dataset={"type": "pandas.ParquetDataset"})
    table.save(frame)
    pd.testing.assert_frame_equal(table.load(), frame)


def test_version_in_a_bucket_is_never_replaced(bucket: TestBucket) -> None:
    metrics(bucket, 1).save({"day": 1})
    with pytest.raises(DatasetError, match="must not exist"):
        metrics(bucket, 1).save({"day": 2})
    assert metrics(bucket, 2).load() == {"day": 1}


def test_credentials_of_an_entry_are_used(bucket: TestBucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    store = {"key": "a", "secret": "b", "client_kwargs": {"endpoint_url": bucket.server.url}}
    metrics(bucket, 1, credentials=store).save({"day": 1})
    model(bucket, 1, credentials=store).save(trained(epochs=1))
    assert len(bucket.objects) == 2


@pytest.mark.parametrize("make", [model, metrics])
def test_option_of_no_package_is_one_line(bucket: TestBucket, make: Callable[..., object]) -> None:
    with pytest.raises(GlowPipelineError, match="profile: not an option; these are"):
        make(bucket, 1, credentials={"profile": "mine"})


def test_versions_cost_one_listing(bucket: TestBucket) -> None:
    for day in (1, 2, 3):
        metrics(bucket, day).save({})
    bucket.server.forget()
    assert len(metrics(bucket, 4).list_versions()) == 3
    assert bucket.server.asked == 1


def test_pattern_matches_names_and_parts_of_names(bucket: TestBucket) -> None:
    bucket.server.objects[bucket.name] = {"a/v1/a.png": b"", "a/v1/a.gif": b"", "a/v2/b/c": b"", "a/v2/ab": b""}
    files = BucketFiles("s3")
    at = f"{bucket.name}/a"
    assert files.glob(f"{at}/*/a.png") == [f"{at}/v1/a.png"]
    assert files.glob(f"{at}/v1/a.*") == [f"{at}/v1/a.gif", f"{at}/v1/a.png"]
    assert files.glob(f"{at}/*/b") == [f"{at}/v2/b"]
    assert files.isdir(f"{at}/v2/b")
    assert not files.isdir(f"{at}/v2/c")


def test_file_is_opened_to_read_alone(bucket: TestBucket) -> None:
    bucket.server.objects[bucket.name] = {"a": b"12345"}
    files = BucketFiles("s3")
    with files.open(f"{bucket.name}/a") as file:
        file.seek(3)
        assert file.read() == b"45"
    with pytest.raises(ValueError, match="opened to read alone"):
        files.open(f"{bucket.name}/a", "wb")


def test_entry_pickles_without_a_connection(bucket: TestBucket) -> None:
    metrics(bucket, 1).save({"day": 1})
    assert pickle.loads(pickle.dumps(metrics(bucket, 2))).load() == {"day": 1}
