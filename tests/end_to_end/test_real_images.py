"""The README's figures, on real images; each test takes minutes."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.project import copy_project, kedro, versions

pytestmark = pytest.mark.slow


def newest(project: Path, pattern: str) -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads(versions(project, pattern)[-1].read_text())
    return metrics


def test_digits_learn_in_a_minute(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    done = kedro(project, "run", "--env", "digits")
    assert done.returncode == 0, done.stderr
    assert newest(project, "08_reporting/digits/train_metrics.json/*/*")["test_bits_per_dim"] <= 2.45
    assert newest(project, "08_reporting/digits/vs_textures/ood_metrics.json/*/*")["auroc"] >= 0.999


def test_fashionmnist_learns_and_takes_mnist_for_inliers(tmp_path: Path) -> None:
    data = os.environ.get("GLOW_TEST_DATA")
    if data is None or not (Path(data) / "FashionMNIST" / "raw").is_dir():
        pytest.skip("GLOW_TEST_DATA names no folder with FashionMNIST/raw and MNIST/raw")
    project = copy_project(tmp_path)
    for name in ("FashionMNIST", "MNIST"):
        shutil.copytree(Path(data) / name, project / "data" / "01_raw" / name)
    typed = ("--env", "fashionmnist", "--params", "train.n_epochs=1")
    for pipeline in ("train", "ood"):
        done = kedro(
            project, "run", "--pipelines", pipeline, *(typed if pipeline == "train" else typed[:2]), timeout=1800
        )
        assert done.returncode == 0, done.stderr
    assert newest(project, "08_reporting/fashionmnist/train_metrics.json/*/*")["test_bits_per_dim"] <= 4.6
    # MNIST is simpler than Fashion-MNIST, and a likelihood takes the simpler for the more probable.
    assert newest(project, "08_reporting/fashionmnist/vs_mnist/ood_metrics.json/*/*")["auroc"] <= 0.25
