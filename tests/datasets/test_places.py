from collections.abc import Callable
from pathlib import Path

import pytest
from kedro.io import Version

from glow_pipeline.datasets import FolderDataset, GlowModelDataset, ImageTableDataset, PictureDataset
from glow_pipeline.datasets.places import local_path, protocol_and_path
from glow_pipeline.errors import GlowPipelineError

REFUSED = {
    "s3:/bucket/samples.png": "write it with //",
    "mlflow-artifacts:/samples.png": "write it with //",
    "s3://bucket/a#b.png": "no # and no ?",
}


@pytest.mark.parametrize(
    ("filepath", "expected"),
    [
        ("s3://bucket/samples.png", ("s3", "bucket/samples.png")),
        ("file:///tmp/samples.png", ("file", "/tmp/samples.png")),
        ("/tmp/a#b/samples.png", ("file", "/tmp/a#b/samples.png")),
        ("C:/samples.png", ("file", "C:/samples.png")),
    ],
)
def test_protocol_and_path_follow_from_the_address(filepath: str, expected: tuple[str, str]) -> None:
    assert protocol_and_path(filepath) == expected


@pytest.mark.parametrize("filepath", REFUSED)
def test_address_that_would_become_a_path_is_refused(filepath: str) -> None:
    with pytest.raises(GlowPipelineError, match=REFUSED[filepath]):
        PictureDataset(filepath=filepath, version=Version(None, None))


@pytest.mark.parametrize("make", [GlowModelDataset, ImageTableDataset])
def test_models_and_tables_are_refused_in_other_storage(make: Callable[..., object]) -> None:
    with pytest.raises(
        GlowPipelineError, match=r"^filepath=ftp://host/name: .* give a local path, or such an address$"
    ):
        make(filepath="ftp://host/name")


def test_working_folder_in_a_bucket_is_refused() -> None:
    with pytest.raises(GlowPipelineError, match=r"^filepath=s3://bucket/name: .* give a local path$"):
        FolderDataset(filepath="s3://bucket/name")


def test_a_file_address_is_a_local_path(tmp_path: Path) -> None:
    assert local_path((tmp_path / "raw").as_uri()) == str(tmp_path / "raw")
    assert FolderDataset(filepath=(tmp_path / "raw").as_uri()).load() == tmp_path / "raw"
