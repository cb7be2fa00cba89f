"""The presets: every folder of conf/ but base and local."""

import re
import runpy
import shutil
from functools import cache
from pathlib import Path

import pytest
import torch
from _pytest.mark.structures import ParameterSet
from omegaconf import OmegaConf

from glow_pipeline.config_loader import ConfigLoader
from glow_pipeline.flow.fast.execution import Execution
from glow_pipeline.hooks.training_checks import check_training
from glow_pipeline.images.batches import Batch
from glow_pipeline.images.sources.registry import SOURCES
from glow_pipeline.memory import FlowSize
from glow_pipeline.parameters import Parameters, flattened, with_values
from glow_pipeline.randomness import generator
from glow_pipeline.settings import CONFIG_LOADER_ARGS
from glow_pipeline.training.adamax import Adamax
from glow_pipeline.training.inputs import inputs_of
from glow_pipeline.training.new_flow import untrained_flow
from glow_pipeline.training.step import TrainingStep
from tests.generativezoo import SEED_DEFAULTS
from tests.project import ROOT

CONF = ROOT / "conf"
PRESETS = sorted(path.name for path in CONF.iterdir() if path.is_dir() and path.name not in ("base", "local"))
SCRIPT = runpy.run_path(str(ROOT / "docs" / "hooks" / "presets.py"))
SLOW = 1e9  # multiplications of an image's pass; two steps of two images at the limit take about a CPU second
GENERATIVEZOO = {
    **SEED_DEFAULTS,
    "dataset": "mnist",
    "out_dataset": "fashionmnist",
    "model.n_bits": 8,
    "model.num_classes": 10,
}
each = pytest.mark.parametrize("preset", PRESETS)


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of conf/ without files in conf/local."""
    copy = tmp_path_factory.mktemp("presets") / "conf"
    return shutil.copytree(CONF, copy, ignore=lambda folder, names: names if "local" in folder else [])


def written(folder: str) -> dict[str, object]:
    """Return the parameters in the files of a folder of conf/ by their dotted names."""
    values: dict[str, object] = {}
    for path in sorted((CONF / folder).glob("parameters*.yml")):
        values |= flattened(OmegaConf.to_container(OmegaConf.load(path)))  # type: ignore[arg-type]
    return values


@cache  # they are read while tests are collected, by each process of a parallel run
def parameters_of(preset: str) -> Parameters:
    found: Parameters = SCRIPT["parameters_of"](ROOT, preset)
    return found


def multiplications(size: FlowSize) -> int:
    """Return about how many multiplications the coupling networks take for an image."""
    hidden = size.hidden_channels
    return sum(size.K * pixels * hidden * (hidden + 14 * channels) for channels, pixels in size.levels())


def is_slow(preset: str) -> bool:
    parameters = parameters_of(preset)
    return multiplications(parameters.model.size(parameters.image_format.shape)) > SLOW


def full_size() -> list[ParameterSet]:
    return [pytest.param(preset, marks=[pytest.mark.slow] if is_slow(preset) else []) for preset in PRESETS]


def warmup_steps(parameters: Parameters) -> float:
    """Return the steps of the warmup on as many images as the source has, or 1,000 of a folder."""
    train = parameters.train
    count = SOURCES[parameters.dataset].counts[0] or 1_000
    return min(train.warmup, train.n_epochs / 10) * (count // train.batch_size)


def check_two_steps(parameters: Parameters, n_images: int = 2) -> None:
    """Train two steps on random images: the likelihood is a number, and the parameters move."""
    image_format = parameters.image_format
    flow = untrained_flow(parameters, image_format, parameters.num_classes)
    flow.execution = Execution(parameters.train.activations)
    random = torch.randint(0, 256, (n_images, *image_format.shape), generator=generator(0, "images"))
    batch = Batch(random.to(torch.uint8) >> (8 - image_format.n_bits), torch.zeros(n_images, dtype=torch.int64))
    flow.initialize(flow.dequantization.dequantize(batch.images, generator(0, "initialize"))[0])
    train = parameters.train
    step = TrainingStep(
        flow,
        Adamax(flow.parameters(), lr=train.lr, warmup_steps=warmup_steps(parameters), weight_decay=train.decay),
        parameters.model.y_weight,
        train.max_skipped_steps,
    )
    before = step.optimizer.vector.clone()
    for number in range(2):
        assert step(*inputs_of(flow, batch, 0, number, flip=train.flip)).isfinite()
    assert (step.optimizer.vector != before).float().mean() > 0.9


@each
def test_preset_passes_the_parameter_checks(conf: Path, preset: str) -> None:
    own = {"ingest": {"path": "xrays"}} if written(preset)["dataset"] == "folder" else {}
    parameters = ConfigLoader(conf, preset, own, **CONFIG_LOADER_ARGS).checked_parameters
    check_training(parameters, torch.device("cpu"))
    assert flattened(parameters.model_dump()).items() >= written(preset).items()


@each
def test_preset_has_what_differs_from_base(preset: str) -> None:
    base, own = written("base"), written(preset)
    assert own.keys() <= base.keys()
    same = [name for name, value in own.items() if base[name] == value]
    allowed = ["dataset", "out_dataset"] if preset != "generativezoo" else list(GENERATIVEZOO)
    assert [name for name in same if name not in allowed] == []


@each
def test_comment_names_source_or_measurement(preset: str) -> None:
    comment = SCRIPT["comment_of"](ROOT, preset)
    assert re.search(r"arXiv:\d{4}\.\d{5}|https://[\w.]+|Measured: ", comment)
    assert "Published" not in comment or SCRIPT["figure_of"](comment).startswith("Published")


def test_generativezoo_has_the_defaults_of_its_seed() -> None:
    assert written("generativezoo") == GENERATIVEZOO


@pytest.mark.parametrize("preset", full_size())
def test_preset_trains_two_steps(preset: str) -> None:
    check_two_steps(parameters_of(preset))


@pytest.mark.parametrize("preset", [preset for preset in PRESETS if is_slow(preset)])
def test_large_preset_trains_at_little_depth(preset: str) -> None:
    check_two_steps(with_values(parameters_of(preset), {"model.K": 1}), n_images=1)


def test_table_of_presets_is_up_to_date() -> None:
    text = (ROOT / SCRIPT["PAGE"]).read_text(encoding="utf-8")
    assert text == SCRIPT["with_table"](text, ROOT), "run `make docs`"


@pytest.mark.parametrize(
    ("comment", "figure"),
    [
        ("Faces. Published: 3.35 bits/dim (A 2018, table 2). Not run.", "Published: 3.35 bits/dim (A 2018, table 2)"),
        ("Published for 28x28: 1.05 bits/dim (B 2019).", "Published for 28x28: 1.05 bits/dim (B 2019)"),
        ("Small. Measured: .78 (docs/a.md).", "Measured: .78 (docs/a.md)"),
        ("No bits/dim are published.", "-"),
    ],
)
def test_figure_is_the_sentence_with_its_source(comment: str, figure: str) -> None:
    assert SCRIPT["figure_of"](comment) == figure
