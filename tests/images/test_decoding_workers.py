"""Many images decoded and prepared, in processes."""

import gc
import io
import multiprocessing
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Dataset

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.decoding import UnreadableImageError
from glow_pipeline.images.decoding_workers import (
    CHUNK_BYTES,
    CHUNK_IMAGES,
    WORTH_A_PROCESS,
    Prepared,
    decode_and_prepare,
    map_in_processes,
)
from glow_pipeline.images.findings import Findings
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.preparation import prepare
from tests.conftest import random_images
from tests.images.pictures import encoded, noise

PHOTO = encoded(noise(64, 64, 3), "PNG")
IMAGE_FORMAT = ImageFormat(channels=3, height=4, width=6, n_bits=5, fit="resize", range=(0, 65535))


@dataclass(frozen=True)
class Pictures:
    """Image i is grey and has the size and the level that follow from i; every 4th is deep; some cannot be read."""

    parent: int = 0

    def __call__(self, index: int) -> bytes:
        if index % 7 == 3:
            raise UnreadableImageError(f"missing in {'the parent' if os.getpid() == self.parent else 'a child'}")
        if index % 7 == 5:
            return b"text"
        image = np.full((3 + index % 4, 5), index % 256, dtype=np.uint8)
        return encoded(image if index % 4 else image.astype(np.uint16) * 257, "PNG")

    def name(self, index: int) -> str:
        return f"{index}.png"


def joined(chunks: list[Prepared]) -> Prepared:
    unreadable = {name: reason for chunk in chunks for name, reason in chunk.unreadable.items()}
    rows = np.concatenate([chunk.rows for chunk in chunks])
    findings = Findings()
    for chunk in chunks:
        findings.add(chunk.findings or Findings())
    return Prepared(rows, torch.cat([chunk.images for chunk in chunks]), unreadable, findings)


@pytest.mark.parametrize("num_workers", [0, 1, 2, None])
def test_result_is_independent_of_process_count(num_workers: int | None) -> None:
    rows = np.arange(1000, 1000 + 2 * (WORTH_A_PROCESS + 1), 2)
    result = joined(list(decode_and_prepare(Pictures(os.getpid()), rows, IMAGE_FORMAT, num_workers)))
    readable = [row for row in rows if row % 7 not in (3, 5)]
    assert result.rows.tolist() == readable
    assert result.rows.dtype == np.int64
    levels = torch.tensor([row % 256 >> 3 for row in readable], dtype=torch.uint8)
    assert torch.equal(result.images, levels[:, None, None, None].expand(-1, *IMAGE_FORMAT.shape))
    deep = [float(row) % 256 * 257 for row in readable if row % 4 == 0]
    assert result.findings is not None
    assert (result.findings.deep, result.findings.clipped) == (len(deep), 0)
    assert (result.findings.lowest, result.findings.highest) == (min(deep), max(deep))
    assert list(result.unreadable) == [f"{row}.png" for row in rows if row % 7 in (3, 5)]
    where = "the parent" if num_workers == 0 else "a child"
    assert set(result.unreadable.values()) == {
        f"missing in {where}",
        "not an image, or of an unknown kind",
    }


def test_few_images_are_not_worth_a_process() -> None:
    (chunk,) = decode_and_prepare(Pictures(os.getpid()), np.array([3]), IMAGE_FORMAT, 2)
    assert chunk.unreadable == {"3.png": "missing in the parent"}
    assert chunk.images.shape == (0, *IMAGE_FORMAT.shape)
    assert chunk.rows.shape == (0,)


def test_images_come_in_the_order_of_the_rows() -> None:
    rows = np.array([42, 2, 9, 2])
    (chunk,) = decode_and_prepare(Pictures(), rows, IMAGE_FORMAT, 0)
    assert chunk.rows.tolist() == [42, 2, 9, 2]
    assert chunk.images[:, 0, 0, 0].tolist() == [row >> 3 for row in rows]


@pytest.mark.parametrize(
    ("side", "most"), [(8, CHUNK_IMAGES), (256, CHUNK_BYTES // (3 * 256 * 256)), (1024, 1)], ids=str
)
def test_chunks_are_bounded_in_images_and_in_bytes(side: int, most: int) -> None:
    image_format = IMAGE_FORMAT.model_copy(update={"height": side, "width": side})
    rows = 7 * np.arange(2 * most + 1)
    sizes = [len(chunk.images) for chunk in decode_and_prepare(Pictures(), rows, image_format, 0)]
    assert sizes == [most, most, 1]
    assert most == 1 or most * 3 * side * side <= CHUNK_BYTES


@dataclass(frozen=True)
class Killed:
    """Dies at one image as a process does that the kernel kills for its memory."""

    parent: int

    def __call__(self, index: int) -> bytes:
        if index == 200:
            assert os.getpid() != self.parent, "no process was made"
            os.kill(os.getpid(), signal.SIGKILL)
        return PHOTO

    def name(self, index: int) -> str:
        return str(index)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """End the processes of a loader that failed in this test, without 5 seconds of waiting."""
    monkeypatch.setattr("torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL", 0.1)
    yield
    gc.collect()
    for child in multiprocessing.active_children():  # which end within a tenth of a second
        child.join(timeout=120)
    assert multiprocessing.active_children() == []


@pytest.mark.usefixtures("impatient")
def test_killed_decoding_process_is_reported() -> None:
    with pytest.raises(
        GlowPipelineError, match=r"^ingest\.num_workers=2: a decoding process died .*lower it$"
    ) as raised:
        list(decode_and_prepare(Killed(os.getpid()), np.arange(WORTH_A_PROCESS), IMAGE_FORMAT, 2))
    assert "\n" not in str(raised.value)


class LostConnection:
    """A result whose sender ends while its memory is fetched, and is not yet known to be dead."""

    def __reduce__(self) -> tuple[object, ...]:
        return _lose_connection, ()


def _lose_connection() -> None:
    raise EOFError


class Sending(Dataset[object]):
    def __getitem__(self, rows: NDArray[np.int64]) -> object:
        return LostConnection()


@pytest.mark.usefixtures("impatient")
def test_connection_lost_to_process_is_a_death() -> None:
    with pytest.raises(GlowPipelineError, match=r"^ingest\.num_workers=1: .* process died \(EOFError\); .*lower it$"):
        list(map_in_processes(Sending(), np.arange(WORTH_A_PROCESS), WORTH_A_PROCESS, 1))


class Missing(Dataset[object]):
    def __getitem__(self, rows: NDArray[np.int64]) -> object:
        raise FileNotFoundError("an error of its own")


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("num_workers", [0, 1])
def test_missing_file_is_no_death(num_workers: int) -> None:
    with pytest.raises(FileNotFoundError, match="an error of its own"):
        list(map_in_processes(Missing(), np.arange(WORTH_A_PROCESS), WORTH_A_PROCESS, num_workers))


@dataclass(frozen=True)
class Broken:
    """A reader with an error of its own."""

    def __call__(self, index: int) -> bytes:
        raise RuntimeError("an error of its own")

    def name(self, index: int) -> str:
        return str(index)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("num_workers", [0, 1])
def test_other_errors_stay_unchanged(num_workers: int) -> None:
    with pytest.raises(RuntimeError, match="an error of its own"):
        list(decode_and_prepare(Broken(), np.arange(WORTH_A_PROCESS), IMAGE_FORMAT, num_workers))


@dataclass(frozen=True)
class Files:
    contents: list[bytes]

    def __call__(self, index: int) -> bytes:
        return self.contents[index]

    def name(self, index: int) -> str:
        return str(index)


def prepared(content: bytes, image_format: ImageFormat) -> NDArray[np.int64]:
    (chunk,) = decode_and_prepare(Files([content]), np.array([0]), image_format, 0)
    return chunk.images[0].numpy().astype(np.int64)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (7, 40), (64, 5)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_files_are_decoded_as_by_pillow(kind: str, height: int, width: int) -> None:
    image_format = ImageFormat(channels=3, height=height, width=width, n_bits=8, fit="resize")
    for seed in range(5):
        content = encoded(noise(20 + 9 * seed, 51, 3, seed=seed), kind)
        pillow = Image.open(io.BytesIO(content)).convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
        assert np.abs(prepared(content, image_format) - np.asarray(pillow).transpose(2, 0, 1)).max() <= 1


@pytest.mark.parametrize("fit", ["resize", "pad"])
@pytest.mark.parametrize("channels", [1, 3])
def test_grey_file_equals_its_coloured_copy(channels: int, fit: str) -> None:
    """Otherwise the storage of their files would distinguish two sets."""
    for seed, size in enumerate([(9, 9), (17, 50), (40, 21), (32, 32)]):
        grey = noise(*size, seed=seed)
        image_format = ImageFormat.model_validate(
            {"channels": channels, "height": 16, "width": 16, "n_bits": 8, "fit": fit}
        )
        in_colours = encoded(np.repeat(grey[:, :, None], 3, axis=2), "PNG")
        assert np.array_equal(prepared(encoded(grey, "PNG"), image_format), prepared(in_colours, image_format))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("fit", ["resize", "pad"])
def test_file_equals_its_pixels_in_an_array(channels: int, fit: str) -> None:
    """Arrays and decoded files have different memory layouts, which torch may treat differently."""
    image_format = ImageFormat.model_validate({"channels": 3, "height": 16, "width": 24, "n_bits": 4, "fit": fit})
    for seed, size in enumerate([(9, 9), (17, 50), (40, 21), (16, 24)]):
        image = random_images(1, channels, size, seed)
        pixels = image[0].permute(1, 2, 0).squeeze(2).numpy()
        assert np.array_equal(prepared(encoded(pixels, "PNG"), image_format), prepare(image, image_format)[0].numpy())
