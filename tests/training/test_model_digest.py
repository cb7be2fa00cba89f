from pathlib import Path

import numpy as np
import torch

from glow_pipeline.training.model_digest import stored_weights_sha256, weights_sha256
from glow_pipeline.training.model_file import read_model, write_model
from tests.conftest import jittered_glow, model_record


def test_stored_and_loaded_weights_have_one_digest(tmp_path: Path) -> None:
    model, path = jittered_glow(), tmp_path / "model.safetensors"
    write_model(path, model_record(), model.state_dict(), np.array([1, 2]), np.array([3]))
    expected = weights_sha256(model.state_dict())
    assert stored_weights_sha256(path) == expected
    assert weights_sha256(read_model(path).flow.state_dict()) == expected


def test_digest_depends_on_every_bit() -> None:
    model = jittered_glow()
    before = weights_sha256(model.state_dict())
    for parameter in model.parameters():
        kept = parameter.detach().clone()
        with torch.no_grad():
            parameter.view(-1)[-1] += 1e-3
        assert weights_sha256(model.state_dict()) != before
        parameter.data = kept
    assert weights_sha256(model.state_dict()) == before


def test_digest_depends_on_names_and_shapes() -> None:
    weights = {"a": torch.arange(4.0), "b": torch.tensor(1.0)}
    others = [
        {"a": torch.arange(4.0).view(2, 2), "b": torch.tensor(1.0)},
        {"a": torch.arange(4.0), "c": torch.tensor(1.0)},
        {"a": torch.arange(4.0), "b": torch.tensor(1.0, dtype=torch.float64)},
    ]
    assert len({weights_sha256(each) for each in (weights, *others)}) == 4
    assert weights_sha256(dict(reversed(weights.items()))) == weights_sha256(weights)
