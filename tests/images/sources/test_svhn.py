from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torchvision import datasets

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.sources.remote import RemoteFile
from glow_pipeline.images.sources.source import Split
from glow_pipeline.images.sources.svhn import SVHN
from tests.images.sources.contract import error_of, images_of
from tests.images.sources.miniatures.svhn import matlab, miniature

COMPLETE = miniature().files["svhn/test_32x32.mat"]
EXPECTED = miniature().expected["test"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "test_32x32.mat"
    path.write_bytes(COMPLETE)
    return path


def test_svhn_is_as_torchvision_reads_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.SVHN, "split_list", {"test": ["", path.name, None]})
    expected = datasets.SVHN(path.parent, "test")
    split = SVHN.open([path], "test")
    assert np.array_equal(np.stack(images_of(split)).transpose(0, 3, 1, 2), expected.data)
    assert np.array_equal(split.labels, expected.labels)


@pytest.mark.parametrize("split", ["train", "test"])
def test_files_are_those_that_torchvision_knows(
    requested: list[tuple[Path, RemoteFile]], tmp_path: Path, split: Split
) -> None:
    url, name, md5 = datasets.SVHN.split_list[split]
    SVHN.files(tmp_path, split)
    assert requested == [(tmp_path / "svhn", RemoteFile(name, md5, (url,)))]


PIXELS, LABELS = np.zeros((32, 32, 3, 2), dtype=np.uint8), np.array([[1], [2]], dtype=np.uint8)


@pytest.mark.parametrize(
    "content",
    [COMPLETE[:100], COMPLETE[:-20], matlab(X=PIXELS), matlab(y=LABELS)],
    ids=["half a header", "nearly complete", "no labels", "no images"],
)
def test_incomplete_file_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    message = error_of(lambda: images_of(SVHN.open([path], "test")))
    assert message.startswith(f"{path}: not a complete SVHN file (")
    assert message.endswith("); fetch it again")


@given(st.integers(0, len(COMPLETE) - 1), st.integers(0, 7))
def test_flipped_bit_is_found_or_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, position: int, bit: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "flipped.mat"
    flipped = bytearray(COMPLETE)
    flipped[position] ^= 1 << bit
    path.write_bytes(flipped)
    problem = ""
    try:
        split = SVHN.open([path], "test")
        images = images_of(split)
    except GlowPipelineError as raised:
        problem = str(raised)
    if problem:
        assert problem.startswith(f"{path}: ")
        assert "\n" not in problem
    else:  # the flip was where nothing is kept, as in the header's text
        assert all(map(np.array_equal, images, EXPECTED.images))
        assert split.labels.tolist() == list(EXPECTED.labels)
