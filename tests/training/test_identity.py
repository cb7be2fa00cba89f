"""The identity of a training."""

from typing import Any

import pytest

from glow_pipeline.parameters import Parameters, changeable_on_resume, known_names
from glow_pipeline.training.identity import fingerprint
from glow_pipeline.training.model_file import MODEL_FILE
from glow_pipeline.training.shipped_models import SHIPPED
from tests.outliers.toy_scores import Brightness, registered
from tests.project import ROOT
from tests.training.interrupted import parameters

WITHIN_IDENTITY = set(known_names()) - changeable_on_resume()  # tests/parameters/test_names.py lists them

# Another value of each parameter than its default.
CHANGED: dict[str, object] = {
    "stored_model": "2026-01-01T00.00.00.000Z",
    "ood.scores": ["brightness"],
    "ood.score": "nll",
    "ood.batch_size": 64,
    "ingest.range": "0-4095",
    "ingest.background": "black",
    "dataset": "mnist",
    "out_dataset": "mnist",
    "seed": 1,
    "device": "cpu",
    "ingest.classes": [1, 2],
    "ingest.path": "somewhere",
    "ingest.eval_path": "elsewhere",
    "ingest.name": "xrays",
    "ingest.size": 16,
    "ingest.channels": 3,
    "ingest.fit": "pad",
    "ingest.on_unreadable": "skip",
    "ingest.num_workers": 3,
    "model.flow_permutation": "shuffle",
    "model.flow_coupling": "additive",
    "model.num_classes": 12,
    "model.n_bits": 3,
    "train.batch_size_per_device": 16,
    "train.activations": "reversible",
    "train.threads": 2,
    "train.precision": "float32",
    "train.compile": True,
    "train.data_on_device": True,
    "train.checkpoint": "model.safetensors",
    "train.checkpoint_every": "5steps",
    "train.resume": "never",
    "train.rendezvous": "here:1",
    "train.epoch_images": 1000,
    "train.stage": "somewhere",
    "ingest.val_images": 100,
    "ingest.verify": "contents",
    "workers.engine": "array",
    "workers.of": 3,
    "workers.part_images": 100,
    "own": {"threshold": 3},
    "search.study": "one",
    "search.storage": "sqlite:///other.db",
    "search.ranges": {"train": {"lr": {"low": 0.001, "high": 0.01}}},
    "search.pruner": "none",
    "sample.mode": "vtemp",
    "sample.y": 1,
    "sample.path": "sphere",
    "sample.attribute": [1],
    "ood.out_classes": [1],
    "ood.out_path": "somewhere",
    "calibrate.path": "somewhere",
    "score.images": "somewhere",
    "score.model": "version",
    "score.scores": ["nll"],
    "score.heatmaps": "all",
    "score.on_resume": "restart",
    "benchmark.out_datasets": ["mnist"],
    "benchmark.n_images": 10,
    "ood.background": "version",
    "ood.ensemble": ["version", "version"],
}


def changed(name: str) -> Parameters:
    """Return the parameters with another value of this one."""
    group, _, leaf = name.rpartition(".")
    default: Any = Parameters()
    default = getattr(getattr(default, group) if group else default, leaf)
    if name in CHANGED:
        value = CHANGED[name]
    else:
        value = (
            not default if isinstance(default, bool) else default + 1 if isinstance(default, int) else default + 0.25
        )
    return Parameters.model_validate({group: {leaf: value}} if group else {leaf: value})


@pytest.mark.parametrize("name", known_names())
def test_fingerprint_is_that_of_the_identity(name: str) -> None:
    with registered(Brightness()):
        other = changed(name)
    assert other != Parameters()
    assert (fingerprint(other) != fingerprint(Parameters())) == (name in WITHIN_IDENTITY)


def test_fingerprint_is_twelve_hex_digits_and_stays() -> None:
    assert fingerprint(Parameters()) == fingerprint(Parameters.model_validate(Parameters().model_dump()))
    assert len(fingerprint(Parameters())) == 12
    assert int(fingerprint(Parameters()), 16) > 0


def test_shipped_start_is_the_same_by_name_or_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    folder = f"{SHIPPED}/digits"
    typed = ("digits", folder, f"{folder}/{MODEL_FILE}", str(ROOT / folder), f"./{SHIPPED}/../{folder}")
    assert len({fingerprint(parameters(checkpoint=each)) for each in typed}) == 1
    assert fingerprint(parameters(checkpoint="digts")) != fingerprint(parameters(checkpoint="digits"))
