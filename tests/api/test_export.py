"""The exported scoring pass, which computes what the model computes."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from glow_pipeline import load_model
from glow_pipeline.api.export import RECORD
from glow_pipeline.errors import GlowPipelineError
from tests.api.models import stored_model

FLOWS: list[dict[str, object]] = [
    {},
    {"flow_coupling": "additive", "flow_permutation": "shuffle", "learn_top": True},
    {"y_condition": True, "num_classes": 3, "LU_decomposed": True},
    {"image_shape": (3, 8, 16), "n_bits": 8, "flow_permutation": "reverse", "scale_floor": 0.5},
]
ALONE = """
import sys, torch
program = torch.export.load(sys.argv[1]).module()
given = torch.load(sys.argv[2], weights_only=True)
torch.save(program(given["images"], given["noise"]), sys.argv[3])
print([name for name in sys.modules if name.startswith("glow_pipeline")])
"""


def given(model_shape: tuple[int, int, int], n_levels: int, n: int) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(n)
    images = torch.randint(0, n_levels, (n, *model_shape), generator=random).to(torch.uint8)
    return images, torch.rand(images.shape, generator=random)


@pytest.mark.parametrize("flow", [FLOWS[0], *(pytest.param(flow, marks=pytest.mark.slow) for flow in FLOWS[1:])])
def test_exported_pass_has_the_bits_of_the_model(flow: dict[str, object], tmp_path: Path) -> None:
    model = load_model(stored_model(tmp_path, **flow), device="cpu")
    path = model.export(tmp_path / "scores.pt2")
    records = {RECORD: ""}
    program = torch.export.load(path, extra_files=records).module()
    assert json.loads(records[RECORD]) == model.record.model_dump(mode="json")
    for n in (1, 2, 5, 130):
        images, noise = given(model.flow.image_shape, model.flow.dequantization.n_levels, n)
        with torch.no_grad(), model.flow.unchanging():
            expected = model.flow.log_prob(images, noise)
        assert torch.equal(program(images, noise), expected)


@pytest.mark.slow
def test_exported_pass_runs_without_the_package(tmp_path: Path) -> None:
    model = load_model(stored_model(tmp_path), device="cpu")
    path = model.export(tmp_path / "scores.pt2")
    images, noise = given((1, 8, 8), 16, 3)
    torch.save({"images": images, "noise": noise}, tmp_path / "given.pt")
    command: list[str | Path] = [sys.executable, "-c", ALONE, path, tmp_path / "given.pt", tmp_path / "scored.pt"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
    with torch.no_grad():
        expected = model.flow.log_prob(images, noise)
    torch.testing.assert_close(torch.load(tmp_path / "scored.pt", weights_only=True), expected)


def test_export_leaves_the_model_as_it_is(tmp_path: Path) -> None:
    model = load_model(stored_model(tmp_path), device="cpu")
    before = {name: tensor.clone() for name, tensor in model.flow.state_dict().items()}
    execution = model.flow.execution
    model.export(tmp_path / "scores.pt2")
    assert model.flow.execution is execution
    assert all(parameter.requires_grad for parameter in model.flow.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.flow.state_dict().items())


@pytest.mark.slow
def test_onnx_has_the_scores_of_the_model(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime of the extra `onnx` is not installed")
    for number, flow in enumerate(FLOWS):
        folder = tmp_path / str(number)
        folder.mkdir()
        model = load_model(stored_model(folder, **flow), device="cpu")
        session = onnxruntime.InferenceSession(model.export(folder / "scores.onnx"))
        record = json.loads(session.get_modelmeta().custom_metadata_map[RECORD])
        assert record == model.record.model_dump(mode="json")
        for n in (1, 2, 5, 130):
            images, noise = given(model.flow.image_shape, model.flow.dequantization.n_levels, n)
            (scored,) = session.run(None, {"images": images.numpy(), "noise": noise.numpy()})
            with torch.no_grad():
                expected = model.flow.log_prob(images, noise)
            np.testing.assert_allclose(scored, expected.numpy(), rtol=2e-6)


def test_other_endings_and_folders_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model(stored_model(tmp_path), device="cpu")
    with pytest.raises(GlowPipelineError, match=r"scores\.pb: give a name that ends with \.pt2 or \.onnx$"):
        model.export(tmp_path / "scores.pb")
    with pytest.raises(GlowPipelineError, match=r"there is no folder .*absent; make it, or give another$"):
        model.export(tmp_path / "absent" / "scores.pt2")
    monkeypatch.setattr("glow_pipeline.api.export.find_spec", lambda name: None)
    with pytest.raises(
        GlowPipelineError,
        match=r"^export to \.onnx: onnx and onnxscript not installed; pip install onnx onnxscript, or",
    ):
        model.export(tmp_path / "scores.onnx")
    assert not list(tmp_path.glob("scores*"))
