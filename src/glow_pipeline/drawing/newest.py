"""The parameters under which Kedro-Viz finds the newest results in `data/`.

The catalog's paths have the names of images, of a sampling mode and of judged files in them, so a picture of the
pipelines shows the results of one choice. Without one it shows what was made last.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import VERSION
from glow_pipeline.images.selection import OWN, ImageSelection
from glow_pipeline.images.sources.registry import SOURCES
from glow_pipeline.parameters.root import MUTATED
from glow_pipeline.training.model_file import read_record

OUTPUT = "07_model_output"
STAGES = ("03_primary", "06_models", OUTPUT, "08_reporting")
MODELS, MODEL_FILE = "06_models", "glow_model.safetensors"
HISTORY = ("score_history.csv", "score_history.png")  # of all judged files
OF_IMAGES = ("name", "path", "classes")  # the parameters of ingest that name them


class StoredVersion(NamedTuple):
    """A version of an artifact: its start, and its path below the folder of its stage."""

    version: str
    stage: str
    parts: tuple[str, ...]

    @property
    def images(self) -> str:
        """Name of the images that it belongs to."""
        return self.parts[0]

    @property
    def mutated(self) -> bool:
        """True if it belongs to a model of mutated images."""
        return self.parts[1:2] == (MUTATED,)

    def named(self, prefix: str) -> str | None:
        """Return what follows the prefix in the name of the artifact or of its folder; None if neither has it."""
        parts = self.parts[1 + self.mutated :]
        return next((part.removeprefix(prefix) for part in parts[:1] if part.startswith(prefix)), None)


def newest_parameters(data: Path) -> dict[str, Any]:
    """Return the parameters of the newest results, nested as in parameters.yml; empty if there are none.

    The dataset is that of the newest version of anything; outliers, sampling mode and judged files are those of the
    newest results of each kind for that dataset. Outliers whose parameters do not follow from their name are left out.

    Args:
        data: the project's folder of results.
    """
    stored = sorted(_stored(data), reverse=True)
    results = [one for one in stored if one.stage != STAGES[0]]
    newest = next(iter(results or stored), None)
    if newest is None:
        return {}
    parameters = _of_images(data, newest)
    same = [one for one in results if (one.images, one.mutated) == (newest.images, newest.mutated)]
    if (out := _newest_named(same, "vs_")) is not None:
        parameters |= _of_outliers(out)
    drawn = [one for one in same if one.stage == OUTPUT]  # not the report samples_by_epoch
    if (mode := _newest_named(drawn, "samples_")) is not None:
        parameters["sample"] = {"mode": mode.removesuffix(".png")}
    same = [one for one in same if one.parts[-1] not in HISTORY]
    if (files := _newest_named(same, "score_")) is not None:
        parameters["score"] = {"images": files}
    return parameters


def _stored(data: Path) -> Iterator[StoredVersion]:
    """Yield every version of every artifact, without looking into versions."""
    for stage in STAGES:
        root = data / stage
        for folder, below, _ in os.walk(root):
            parts = Path(folder).relative_to(root).parts
            if parts:
                yield from (StoredVersion(name, stage, parts) for name in below if VERSION.fullmatch(name))
            below[:] = [name for name in below if not VERSION.fullmatch(name)]


def _newest_named(stored: list[StoredVersion], prefix: str) -> str | None:
    """Return the name after the prefix of the first artifact that has it."""
    return next((name for one in stored if (name := one.named(prefix)) is not None), None)


def _of_images(data: Path, newest: StoredVersion) -> dict[str, Any]:
    """Return the parameters of the in-distribution images: by the record of their newest model, else by their name."""
    mutated = [MUTATED] if newest.mutated else []
    folder = data.joinpath(MODELS, newest.images, *mutated, MODEL_FILE)
    versions = sorted(folder.glob("*/*.safetensors"), reverse=True)
    try:
        made_with = read_record(versions[0]).parameters if versions else {}
    except GlowPipelineError:  # a damaged model
        made_with = {}
    if "dataset" not in made_with:
        return _selection(newest.images, "dataset", ("ingest", "classes", "name"))
    ingest = {name: value for name in OF_IMAGES if (value := made_with.get("ingest", {}).get(name)) is not None}
    parameters = {"dataset": made_with["dataset"], "ingest": ingest}
    return parameters | ({"train": {"mutation": made_with["train"]["mutation"]}} if newest.mutated else {})


def _of_outliers(key: str) -> dict[str, Any]:
    return _selection(key, "out_dataset", ("ood", "out_classes", "out_path"))


def _selection(key: str, dataset: str, names: tuple[str, str, str]) -> dict[str, Any]:
    """Return the parameters of images of this name.

    Args:
        key: as of `ImageSelection.key`.
        dataset: name of the parameter of the source.
        names: the group and the names in it of the parameters of classes and of a folder's name.
    """
    group, classes, folder = names
    for source in sorted((name for name in SOURCES if name not in OWN), key=len, reverse=True):
        if key == source:
            return {dataset: source}
        chosen = key.removeprefix(f"{source}_class_").split("_")
        if key.startswith(f"{source}_class_") and _key(source, chosen) == key:
            return {dataset: source, group: {classes: chosen}}
    own, _, name = key.partition("_")
    if own in OWN and "_class_" not in key:
        return {dataset: own, group: {folder: name}}
    return {}


def _key(source: str, classes: list[str]) -> str | None:
    try:
        return ImageSelection.of(source, classes).key
    except ValueError:
        return None
