"""The origin of a run."""

from importlib.metadata import version

from glow_pipeline.hooks.provenance import versions


def test_versions_are_of_every_direct_dependency() -> None:
    found = versions()
    assert found.keys() >= {"python", "glow_pipeline", "kedro-datasets", "safetensors", "torch", "tqdm"}
    assert found["omegaconf"] == version("omegaconf")
    assert not {"pytest", "FrEIA", "psutil"} & found.keys()
