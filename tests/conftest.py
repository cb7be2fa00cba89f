"""Small sources, tables, flows and projects that many tests need; which tests are quick."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Protocol

import numpy as np
import pytest
import torch
from filelock import FileLock
from hypothesis import settings
from sqlalchemy import event
from sqlalchemy.engine import Engine
from torch import Tensor

from glow_pipeline import launchers
from glow_pipeline.files import sha256
from glow_pipeline.flow import Glow
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.sources.registry import SOURCES
from glow_pipeline.images.sources.source import ArraySplit, Source, SourceFile
from glow_pipeline.images.table import ImageTable, TableRecord
from glow_pipeline.images.table_writer import plan_table
from glow_pipeline.provenance import Provenance
from glow_pipeline.training.records import ModelRecord
from tests import project
from tests.mlflow_server import MlflowServer
from tests.s3_server import S3Server, TestBucket, s3_server

settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=25)
settings.load_profile("repeatable")

# On a machine without a GPU Triton interprets kernels. It reads this when it is imported, so no test can set it.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

# The tensors of tests are tiny. Two threads would only wait for each other, for long on a busy machine.
torch.set_num_threads(1)

# Fake tensors make torch believe in a GPU. Were the first backward pass after them, it would start a thread for that
# GPU, and no forked process could compute gradients.
if not torch.cuda.is_available():
    torch.zeros((), requires_grad=True).backward()


# MLflow writes these into the environment, and a user's own server is not for tests.
MLFLOW_VARIABLES = ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID", "MLFLOW_RUN_ID")
for name in MLFLOW_VARIABLES:
    os.environ.pop(name, None)


@event.listens_for(Engine, "connect")
def leave_writing_to_the_system(connection: object, _record: object) -> None:
    """Let MLflow's and Optuna's databases in tests, which no failure of power has to spare, not wait for the disk."""
    if isinstance(connection, sqlite3.Connection):
        with suppress(sqlite3.DatabaseError):  # a damaged one, about which MLflow shall say so at its own query
            connection.execute("pragma synchronous=off")


# Tests that import one of these or use one of the fixtures run pipelines, commands or servers.
RUNNERS: tuple[object, ...] = (
    subprocess,
    MlflowServer,
    project.run,
    project.session,
    project.kedro_run,
    project.kedro,
)
PIPELINE_FIXTURES = {"finished_digits", "digits_project", "server"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that run pipelines, and put them first: the last tests of a parallel run should be short.

    The first file makes `finished_digits`; files that use it too follow those that do not, and so need not wait.
    """
    first: pytest.Module | None = None
    waiting: set[pytest.Module | None] = set()
    for item in items:
        module = item.getparent(pytest.Module)
        fixtures = set(getattr(item, "fixturenames", ()))
        if module is not None and (fixtures & PIPELINE_FIXTURES or runs_pipelines(module.obj)):
            item.add_marker(pytest.mark.pipeline)
        if fixtures & {"finished_digits", "digits_project"}:
            first = first or module
            waiting.add(module)
    waiting.discard(first)
    items.sort(key=lambda item: (item.get_closest_marker("pipeline") is None, item.getparent(pytest.Module) in waiting))


def runs_pipelines(module: ModuleType) -> bool:
    """Return whether a test module, or one that it imports functions from, imports what runs pipelines."""
    values = list(vars(module).values())
    if any(value is runner for value in values for runner in RUNNERS):
        return True
    others = {value.__module__ for value in values if isinstance(value, FunctionType)} - {module.__name__}
    return any(runs_pipelines(sys.modules[name]) for name in others if ".test_" in name)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment in which no launcher says which machine this is, or where others are."""
    for name in launchers.NAMES:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.fixture(autouse=True)
def environment_without_mlflow() -> Iterator[None]:
    """Remove the address of its runs that a test may leave in the environment."""
    yield
    for name in MLFLOW_VARIABLES:
        os.environ.pop(name, None)


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """An S3 server on loopback."""
    with s3_server() as server:
        yield server


@pytest.fixture
def bucket(s3: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> TestBucket:
    """An empty bucket that addresses of S3 lead to, also in processes that the test starts."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {
        "AWS_ENDPOINT_URL": s3.url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(tmp_path / "no_aws_config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "no_aws_credentials"),
    }.items():
        monkeypatch.setenv(name, value)
    s3.forget()
    made = TestBucket(s3, f"bucket-{len(s3.objects)}")
    s3.objects[made.name] = {}
    return made


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder for pictures of pages: that of `GLOW_SCREENSHOTS`, which CI may keep, or a temporary one."""
    folder = Path(os.environ.get("GLOW_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def finished_digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which `TINY_COMMAND` was typed once; made once for all xdist workers, to be read or copied.

    The command had every parameter of a user; commands typed later score by `project.QUICK_OOD`. Besides its data
    it holds what the command printed (`printed.out`, `printed.err`) and what `project.WATCH` wrote.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # each worker's folder is in one that all of them share
        folder = folder.parent
    finished = folder / "finished_digits"
    with FileLock(folder / "finished_digits.lock"):
        if not finished.exists():
            making = project.copy_project(folder / "unfinished_digits", quick_ood=False, mlflow_used=False)
            with (making / "src" / "glow_pipeline" / "settings.py").open("a") as settings:
                settings.write(project.WATCH)
            done = project.kedro(making, *project.TINY_COMMAND)
            assert done.returncode == 0, done.stdout + done.stderr
            (making / "printed.out").write_text(done.stdout)
            (making / "printed.err").write_text(done.stderr)
            project.make_ood_quick(making)
            making.rename(finished)
    return finished


@pytest.fixture
def digits_project(finished_digits: Path, tmp_path: Path) -> Path:
    """A copy of `finished_digits`, to be changed."""
    return shutil.copytree(finished_digits, tmp_path / "digits")


def random_images(n: int, channels: int = 1, size: tuple[int, int] = (8, 8), seed: int = 0) -> Tensor:
    """Return uint8 (n, channels, *size), every value equally likely."""
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, channels, *size), generator=random).to(torch.uint8)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """A real MLflow server, which takes ten seconds to start; each test has an experiment of its own."""
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
    """Make the table of 8-bit images, given them and n_bits; sizes stay, labels are 0, 1, 2, 0, ..."""

    def make(images: Tensor, n_bits: int) -> ImageTable:
        channels, height, width = images.shape[1:]
        image_format = ImageFormat(channels=channels, height=height, width=width, n_bits=n_bits, fit="resize")
        folder = tmp_path / f"table_{len(list(tmp_path.glob('table_*')))}"
        plan_table(make_source(images), "train", image_format, tmp_path).write(folder)
        return ImageTable(folder)

    return make


def jittered_glow(**arguments: object) -> Glow:
    """Return a 1x8x8, 4-bit Glow with every weight moved, so that no layer is the identity."""
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
    """Return the record of `jittered_glow(**arguments)`."""
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
