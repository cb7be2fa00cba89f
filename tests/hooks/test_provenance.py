"""The origin of a run."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from glow_pipeline.hooks import provenance
from glow_pipeline.hooks.provenance import requirements, versions

PROJECT = Path(__file__).parents[2]


def test_versions_are_of_every_direct_dependency() -> None:
    found = versions(requirements(PROJECT))
    assert found.keys() >= {"python", "glow_pipeline", "kedro-datasets", "safetensors", "torch", "tqdm"}
    assert found["omegaconf"] == version("omegaconf")
    assert not {"pytest", "FrEIA", "psutil"} & found.keys()


def test_versions_without_installation_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kedro runs a project from its folder, which need not be installed."""
    installed = versions(requirements(PROJECT))

    def not_found(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(provenance, "requires", not_found)
    assert versions(requirements(PROJECT)) == installed
