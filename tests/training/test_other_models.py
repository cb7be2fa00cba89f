"""The models beside the scored one: named by version or file, or the newest of mutated images."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import sha256
from glow_pipeline.parameters import OodParameters
from glow_pipeline.training.model_file import write_model
from glow_pipeline.training.other_models import check_other_models, find_other_models, read_other_models
from tests.conftest import jittered_glow, model_record


def store(folder: Path, version: str, **arguments: object) -> Path:
    """Store a model below a folder of models, and return its file."""
    path = folder / "glow_model.safetensors" / version / "glow_model.safetensors"
    path.parent.mkdir(parents=True)
    write_model(path, model_record(**arguments), jittered_glow(**arguments).state_dict())
    return path


def ood(**arguments: Any) -> OodParameters:
    return OodParameters(score="nll", **arguments)


RATIO, WAIC = {"scores": ["likelihood_ratio"]}, {"scores": ["waic"]}


def test_scores_of_one_model_need_no_others(tmp_path: Path) -> None:
    assert find_other_models(tmp_path / "absent", ood()) == {}
    assert find_other_models(tmp_path / "absent", ood(background="gone", ensemble=["gone", "too"])) == {}


def test_background_is_the_newest_of_mutated_images(tmp_path: Path) -> None:
    store(tmp_path, "2026-01-09")
    store(tmp_path / "mutated", "2026-01-01")
    newest = store(tmp_path / "mutated", "2026-01-02")
    assert find_other_models(tmp_path, ood(**RATIO)) == {"background": [newest]}


def test_models_are_named_by_version_or_file(tmp_path: Path) -> None:
    plain, mutated = store(tmp_path, "2026-01-09"), store(tmp_path / "mutated", "2026-01-01")
    named = ood(scores=["likelihood_ratio", "waic"], background="2026-01-09", ensemble=["2026-01-01", str(plain)])
    assert find_other_models(tmp_path, named) == {"background": [plain], "ensemble": [mutated, plain]}


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (RATIO, r"^ood\.background=null: likelihood_ratio compares .* `kedro run x,train\.mutation=0\.2` with the"),
        ({**RATIO, "background": "gone"}, r"^ood\.background=gone: no such model; give a version of .*, or the path"),
        ({**RATIO, "background": "a/b.safetensors"}, r"^ood\.background=a/b\.safetensors: no such model"),
        (WAIC, r"^ood\.ensemble=null: waic compares several models; name two or more"),
        ({**WAIC, "ensemble": ["gone", "gone"]}, r"^ood\.ensemble=gone: no such model"),
        (
            {**WAIC, "ensemble": ["2026-01-09", "2026-01-09"]},
            r"^ood\.ensemble=2026-01-09\+2026-01-09: names a model tw",
        ),
    ],
)
def test_absent_models_are_named_in_one_line(tmp_path: Path, given: dict[str, Any], line: str) -> None:
    store(tmp_path, "2026-01-09")
    with pytest.raises(GlowPipelineError, match=line):
        find_other_models(tmp_path, ood(**given), "kedro run x")


def test_models_of_other_images_are_refused(tmp_path: Path) -> None:
    path = store(tmp_path, "2026-01-09")
    record = model_record()
    check_other_models({"background": [path]}, record)
    coarser = record.model_copy(update={"image_format": record.image_format.model_copy(update={"n_bits": 2})})
    with pytest.raises(GlowPipelineError, match=r"^ood\.background=.*: a model of images 1x8x8_4bit_resize, and those"):
        check_other_models({"background": [path]}, coarser)


def test_models_are_read_and_recorded(tmp_path: Path) -> None:
    one, two = store(tmp_path, "2026-01-01"), store(tmp_path, "2026-01-02", K=2)
    models = read_other_models({"background": [one], "ensemble": [one, two]})
    assert models.background is not None
    for flow, expected in zip(models.ensemble, (jittered_glow(), jittered_glow(K=2)), strict=True):
        assert all(torch.equal(tensor, expected.state_dict()[name]) for name, tensor in flow.state_dict().items())
    assert models.record() == {
        "background_model": f"session sha256:{sha256(one)}",
        "ensemble_models": [f"session sha256:{sha256(path)}" for path in (one, two)],
    }
    assert read_other_models({}).record() == {}


def test_training_images_of_all_are_read(tmp_path: Path) -> None:
    one, two, unknown = store(tmp_path, "2026-01-01"), store(tmp_path, "2026-01-02"), store(tmp_path, "2026-01-03")
    for path, trained_on in ((one, [2, 5]), (two, [1, 5])):
        write_model(path, model_record(), jittered_glow().state_dict(), np.array(trained_on))
    models = read_other_models({"background": [unknown], "ensemble": [one, two]})
    assert models.trained_on.tolist() == [1, 2, 5]
    assert read_other_models({}).trained_on.tolist() == []
