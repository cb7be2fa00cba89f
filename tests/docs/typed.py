"""Commands of the documents, with what they leave open filled in, and on images and devices that are here."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from tests.docs.commands import Command
from tests.project import versions

# What documents leave open, and what may stand there. A version and a file are those of a stored model.
OPEN = {
    "<the same images>": "dataset=pneumoniamnist,ingest.classes=[0],ingest.fit=pad",
    "train.precision=<...>": "train.precision=float32",
    "seed=<...>": "seed=1",
    "<seed>": "1",
    "<name>": "lungs",
    "<folder>": "~/normal",
    "$SLURM_NNODES": "2",
}
VERSION = re.compile(r"<version(?: of seed \d)?>")
FILE = re.compile(r"<(?:file|model|model file)>")
HERE = ("digits", "textures", "folder")  # sets that need no download
DOWNLOADED = re.compile(r"(?:fashionmnist|pneumoniamnist|octmnist|mnist|cifar10)(?:_class_\d)?")
MAKES_TABLES = {"ingest", "train", "search"}


class Started(Exception):  # noqa: N818  # no error
    """A command has passed all checks."""


def filled(command: Command, model: Path) -> Command:
    """Return the command with values for what it leaves open; `model` is the file of a stored model."""
    text = command.text
    for placeholder, value in OPEN.items():
        text = text.replace(placeholder, value)
    return replace(command, text=FILE.sub(str(model), VERSION.sub(model.parent.name, text)))


def is_kedro_run(command: Command) -> bool:
    return arguments(command) is not None


def arguments(command: Command) -> list[str] | None:
    """Return what follows `kedro run`; None of another command."""
    words = command.words[1:] if command.words[:1] == ["srun"] else command.words
    return words[2:] if words[:2] == ["kedro", "run"] else None


def pipelines(typed: Sequence[str]) -> set[str]:
    chosen = _option(typed, "--pipelines") or _option(typed, "--pipeline")
    return set(chosen.split(",")) if chosen else {"ingest", "train", "sample", "ood"}


def on_digits(typed: Sequence[str], **more: object) -> list[str]:
    """Return the arguments of the same command on digits, or on a folder that is trained on.

    What chooses images is left out where the command takes a stored model, which knows its images.
    """
    values = _parameters(typed)
    if values.get("dataset", "digits") not in HERE or not pipelines(typed) & MAKES_TABLES:
        values = {name: value for name, value in values.items() if not name.startswith("ingest.")}
        values |= {"dataset": "digits"} if "dataset" in values else {}
    for name in {"model", "train.checkpoint"} & set(values):
        values[name] = DOWNLOADED.sub("digits", values[name])
    if values.get("out_dataset", "textures") not in HERE:
        values["out_dataset"] = "textures"
        values.pop("ood.out_classes", None)
    if "benchmark.out_datasets" in values:
        sets = [DOWNLOADED.sub("textures", each) for each in values["benchmark.out_datasets"].split("+")]
        values["benchmark.out_datasets"] = "+".join(dict.fromkeys(each for each in sets if each != "digits"))
    if values.get("device") == "cuda":
        values["device"] = "cpu"
    if "score.false_alarm_rate" in values:
        values["score.false_alarm_rate"] = "0.05"  # a lower one needs more calibration images than digits have
    values |= {name: str(value) for name, value in more.items()}
    rest = list(typed)
    if "--params" in rest:
        at = rest.index("--params")
        del rest[at : at + 2]
    if (env := _option(rest, "--env")) is not None and DOWNLOADED.fullmatch(env):
        rest[rest.index("--env") + 1] = "digits"
    return [*rest, *(["--params", ",".join(f"{name}={value}" for name, value in values.items())] if values else [])]


def write_images(folder: Path, n: int = 60, name: str = "{}.png") -> None:
    """Write n grey PNG files of 16x16; those of two folders differ."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(list(folder.name.encode()))
    for i in range(n):
        Image.fromarray(random.integers(0, 256, (16, 16), dtype=np.uint8)).save(folder / name.format(i))


def _parameters(typed: Sequence[str]) -> dict[str, str]:
    """Return the typed parameters; none of the documents' has `,name=` in its value."""
    pairs = re.split(r",(?=[a-z_]+(?:\.\w+)*=)", _option(typed, "--params") or "")
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs if pair)}


def _option(typed: Sequence[str], flag: str) -> str | None:
    return typed[typed.index(flag) + 1] if flag in typed else None


def model_of(project: Path, dataset: str = "digits") -> Path:
    return versions(project, f"06_models/{dataset}/glow_model.safetensors/*/*.safetensors")[-1]
