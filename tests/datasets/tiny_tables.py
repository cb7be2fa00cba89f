"""Versions of the table of six images, for tests."""

import multiprocessing
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from kedro.io import Version
from torch import Tensor

from glow_pipeline.datasets import ImageTableDataset
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.sources.source import ArraySplit
from glow_pipeline.images.table_writer import TableWriter
from tests.conftest import random_images

SMALL = ImageFormat(channels=1, height=4, width=4, n_bits=8, fit="resize")
LARGE = ImageFormat(channels=3, height=8, width=8, n_bits=5, fit="pad")
IMAGES_IN = random_images(6)


def version(day: int) -> str:
    return f"2026-01-{day:02}T00.00.00.000Z"


def dataset(folder: Path, day: int, image_format: ImageFormat = SMALL) -> ImageTableDataset:
    """Return the catalog's entry in the run of that day."""
    entry = ImageTableDataset(filepath=str(folder / "tiny" / "train"), version=Version(None, version(day)))
    entry.identify(image_format)
    return entry


def folder_of(folder: Path, day: int, image_format: ImageFormat = SMALL) -> Path:
    return folder / "tiny" / image_format.key / "train" / version(day) / "train"


def reading(plan: TableWriter, read: Callable[[], Iterator[Tensor]]) -> TableWriter:
    """Return the same plan with other images."""
    return replace(plan, open=lambda: ArraySplit(np.arange(6) % 3, read))


def not_decodable(plan: TableWriter) -> TableWriter:
    def refuse() -> NoReturn:
        raise AssertionError("the table was decoded again")

    return replace(plan, open=refuse)


def assert_no_table(folder: Path) -> None:
    assert not dataset(folder, 20).exists()
    assert dataset(folder, 20).list_versions() == []


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="the plan's images are in this process's memory")


def started(target: Callable[[], None]) -> multiprocessing.process.BaseProcess:
    process = multiprocessing.get_context("fork").Process(target=target)
    process.start()
    return process


def ended(process: multiprocessing.process.BaseProcess) -> int | None:
    process.join(240)
    assert not process.is_alive()
    return process.exitcode
