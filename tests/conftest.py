"""Small sources, tables and flows that many tests need."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest
import torch
from hypothesis import settings
from torch import Tensor

from glow_pipeline.files import sha256
from glow_pipeline.flow import Glow
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.sources.registry import SOURCES
from glow_pipeline.images.sources.source import ArraySplit, Source, SourceFile
from glow_pipeline.images.table import ImageTable, TableRecord
from glow_pipeline.images.table_writer import plan_table
from glow_pipeline.training.model_file import ModelRecord, Provenance
from tests.mlflow_server import MlflowServer

settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=25)
settings.load_profile("repeatable")

# The tensors of tests are tiny. Two threads would only wait for each other, for long on a busy machine.
torch.set_num_threads(1)


# A user's own server is none of the tests' business, and MLflow itself writes its address into the environment.
NOT_OF_TESTS = ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID", "MLFLOW_RUN_ID")
for name in NOT_OF_TESTS:
    os.environ.pop(name, None)


@pytest.fixture(autouse=True)
def environment_without_mlflow() -> Iterator[None]:
    """No test leaves the next one an address for its runs."""
    yield
    for name in NOT_OF_TESTS:
        os.environ.pop(name, None)


def random_images(n: int, channels: int = 1, size: tuple[int, int] = (8, 8), seed: int = 0) -> Tensor:
    """uint8 (n, channels, *size), every value equally likely."""
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, channels, *size), generator=random).to(torch.uint8)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """A real one, for the tests of a file."""
    server = MlflowServer(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.kill()


class MakeSource(Protocol):
    """Registers a source: images in memory, labels 0, 1, 2, 0, ..., one file in a temporary folder."""

    def __call__(
        self,
        images: Tensor,
        *,
        name: str = ...,
        content: bytes = ...,
        n_labels: int | None = ...,
        chunk: int = ...,
        own_validation: int = ...,
    ) -> ImageSelection: ...


@pytest.fixture
def make_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeSource:
    def make(
        images: Tensor,
        *,
        name: str = "tiny",
        content: bytes = b"one",
        n_labels: int | None = None,
        chunk: int = 10,
        own_validation: int = 0,
    ) -> ImageSelection:
        file = tmp_path / "raw" / f"{name}.bin"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content)
        labels = np.arange(len(images) if n_labels is None else n_labels) % 3
        source = Source(
            name=name,
            title="noise",
            channels=images.shape[1],
            n_bits=8,
            size=(images.shape[2], images.shape[3]),
            default_size=(images.shape[2], images.shape[3]),
            num_classes=3,
            licence="none",
            counts=(0, 0, 0),
            files=lambda raw, split: [SourceFile(file, sha256(file))],
            open=lambda files, split: ArraySplit(labels, lambda: iter(images.split(chunk)), own_validation),
        )
        monkeypatch.setitem(SOURCES, name, source)
        return ImageSelection.of(name)

    return make


MakeTable = Callable[[Tensor, int], ImageTable]


@pytest.fixture
def make_table(make_source: MakeSource, tmp_path: Path) -> MakeTable:
    """(8-bit images, n_bits) -> the table of them, at their own size; labels are 0, 1, 2, 0, ..."""

    def make(images: Tensor, n_bits: int) -> ImageTable:
        channels, height, width = images.shape[1:]
        image_format = ImageFormat(channels=channels, height=height, width=width, n_bits=n_bits, fit="resize")
        folder = tmp_path / f"table_{len(list(tmp_path.glob('table_*')))}"
        plan_table(make_source(images), "train", image_format, tmp_path).write(folder)
        return ImageTable(folder)

    return make


def jittered_glow(**arguments: object) -> Glow:
    """A 1x8x8, 4-bit Glow whose every weight was moved, so that no layer is the identity."""
    random = torch.Generator().manual_seed(3)
    given: dict[str, object] = {"image_shape": (1, 8, 8), "K": 1, "L": 2, "hidden_channels": 4, "n_bits": 4}
    model = Glow(**{**given, **arguments}, generator=random)  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=random))
    for name, buffer in model.named_buffers():
        if name.endswith("initialized"):
            buffer.fill_(True)
    return model.eval()


def model_record(**arguments: object) -> ModelRecord:
    """The record of `jittered_glow(**arguments)`."""
    image_format = ImageFormat(channels=1, height=8, width=8, n_bits=4, fit="resize")
    return ModelRecord(
        dataset="tiny",
        image_format=image_format,
        num_classes=3,
        flow={"K": 1, "L": 2, "hidden_channels": 4, **arguments},
        parameters={"seed": 0},
        train_table=TableRecord(
            image_selection=ImageSelection.of("tiny"),
            split="train",
            image_format=image_format,
            count=4,
            num_classes=3,
            source_files={},
            on_unreadable="stop",
            made_with={},
        ),
        device="cpu",
        epochs=2,
        best_epoch=1,
        steps=10,
        val_bits_per_dim=1.25,
        provenance=Provenance(kedro_session="session", versions={"torch": "2"}),
    )
