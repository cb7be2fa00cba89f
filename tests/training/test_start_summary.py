"""The lines before a training starts."""

from pathlib import Path
from typing import Any

import pytest

from glow_pipeline.images.format import Fit, ImageFormat
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.table import TableRecord
from glow_pipeline.parameters import Parameters, with_complete_batches
from glow_pipeline.training.start_summary import memory_warning, start_summary

GIB = 2**30


def record(image_selection: ImageSelection, size: int = 32, channels: int = 1, fit: Fit = "pad") -> TableRecord:
    return TableRecord(
        image_selection=image_selection,
        split="train",
        image_format=ImageFormat(channels=channels, height=size, width=size, n_bits=8, fit=fit),
        count=60000,
        num_classes=10,
        source_files={},
        on_unreadable="stop",
        made_with={},
    )


def summary(of: TableRecord | None = None, **changed: Any) -> list[str]:
    given: dict[str, Any] = {
        "counts": {"training": 54000, "validation": 6000, "testing": 10000},
        "n_weights": 301952,
        "batch_size": 128,
        "steps_done": 0,
        "device": "cpu (2 threads)",
        "precision": "float32",
        "memory": 2**28,
        "available": 20 * GIB,
        "folder": Path("checkpoints"),
    }
    parameters = changed.pop("parameters", Parameters())
    return start_summary(of or record(ImageSelection.of("fashionmnist")), parameters, **{**given, **changed})


def test_summary_says_what_is_trained_on_what() -> None:
    assert summary() == [
        "Images: fashionmnist: 54,000 for training, 6,000 for validation, 10,000 for testing; 10 classes; "
        "32x32 grey, 8 bits, padded from 28x28.",
        "Model:  K=8, L=3, hidden_channels=64: 301,952 parameters.",
        "Steps:  100 epochs of 421 steps of 128 images: 42,100; on cpu (2 threads) in float32; about 256 MiB of "
        "memory, 20.0 GiB are free.",
        "Stop:   Ctrl-C writes a checkpoint, and the same command resumes from it (checkpoints).",
    ]


@pytest.mark.parametrize(
    ("processes", "batch_size", "said"),
    [
        (8, 128, "421 steps of 128 images (16 in each of 8 processes): 42,100;"),
        (1, 16, "3,375 steps of 16 images (16 in each of 1 process): 337,500;"),
        (8, 100, "540 steps of 100 images: 54,000;"),  # there are no more
    ],
)
def test_shares_of_a_batch_are_said(processes: int, batch_size: int, said: str) -> None:
    given = Parameters.model_validate({"train": {"batch_size_per_device": 16}})
    lines = summary(parameters=with_complete_batches(given, processes), batch_size=batch_size)
    assert f"100 epochs of {said}" in lines[2]


def test_resumed_training_says_what_is_done() -> None:
    assert "42,100, of which 500 are done; on cpu" in summary(steps_done=500)[2]


def test_unknown_memory_and_folder_are_left_out() -> None:
    lines = summary(available=None, folder=None)
    assert len(lines) == 3
    assert lines[2].endswith("about 256 MiB of memory.")


@pytest.mark.parametrize(
    ("of", "said"),
    [
        (record(ImageSelection.of("cifar10"), channels=3), "32x32 RGB, 8 bits."),
        (record(ImageSelection.of("celeba"), 64, 3, "resize"), "64x64 RGB, 8 bits, resized"),
        (
            record(ImageSelection.of_folder("pictures", None, 10.0, 0, None), 64, 3, "resize"),
            "resized where they differ.",
        ),
    ],
)
def test_fitting_is_said(of: TableRecord, said: str) -> None:
    assert said in summary(of)[0]


def test_too_little_memory_names_three_parameters() -> None:
    assert memory_warning(GIB, 2 * GIB, Parameters()) is None
    assert memory_warning(GIB, None, Parameters()) is None
    assert memory_warning(18 * GIB, 4 * GIB, Parameters()) == (
        "This training takes about 18.0 GiB of memory and 4.0 GiB are free: it may be killed; lower "
        "train.batch_size=128, raise train.accumulate=1, or set train.activations=reversible (it is stored)"
    )
