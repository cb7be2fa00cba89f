"""The name of an MLflow run: the pipeline, the images, and what differs from other runs."""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from glow_pipeline.parameters import as_typed
from glow_pipeline.training.model_file import MODEL_FILE

LONGEST, LONGEST_VALUE, LONGEST_IMAGES = 100, 24, 30  # characters
# By which models are compared, in this order; `model.` stands for the rest of its group.
FIRST = ("train.lr", "seed", "model.K", "model.L", "model.")
# Parameters that the names of the images stand for.
IN_TITLE = (
    *("dataset", "out_dataset", "score.images"),
    *("ingest.path", "ingest.eval_path", "ingest.name", "ingest.classes", "ood.out_path", "ood.out_classes"),
)


def run_name(title: str, typed: Mapping[str, Any], env: str | None, dataset: str) -> str:
    """Return `train digits lr=0.002 seed=3 n_epochs=5 preset`.

    MLflow's list shows the beginning, so the parameters by which models are compared come first.

    Args:
        title: pipeline and images; of a long name of images the middle is left out.
        typed: parameters of `--params` by their dotted names; each is called by the last part of its name, or by the
            whole name if two of them end alike. Those of `IN_TITLE` are left out.
        env: environment of the run. A preset that is not called like the dataset is named.
        dataset: name of the dataset.
    """
    shown = sorted((name for name in typed if name not in IN_TITLE), key=_place)
    ends = [name.rpartition(".")[2] for name in shown]
    called = [end if ends.count(end) == 1 else name for name, end in zip(shown, ends, strict=True)]
    title = " ".join(map(_of_images, title.split(" ")))
    parts = [f"{call}={_short(typed[name])}" for call, name in zip(called, shown, strict=True)]
    if env not in (None, "base", "local"):
        parts.append("preset" if env == dataset else f"preset={env}")
    for n in range(len(parts), -1, -1):
        more = [] if n == len(parts) else [f"and {len(parts) - n} more"]
        name = " ".join([title, *parts[:n], *more])
        if len(name) <= LONGEST:
            return name
    return title


def _of_images(word: str) -> str:
    """Return a name of images in which what follows it stays in sight; its end tells long ones apart."""
    return word if len(word) <= LONGEST_IMAGES else f"{word[: LONGEST_IMAGES - 11]}...{word[-8:]}"


def _place(name: str) -> int:
    """Return where a parameter comes; those of equal place stay in the order of typing."""
    return next(
        (place for place, first in enumerate(FIRST) if name == first or (name.startswith(first) and first[-1] == ".")),
        len(FIRST),
    )


def _end(path: PurePath) -> str:
    """Return what tells a path from others: the name of its file, or of its folder where the file has any model's."""
    return path.parent.name if path.name == MODEL_FILE else path.name


def _short(value: object) -> str:
    if isinstance(value, list | tuple):
        text = "+".join(_short(each) for each in value)
    else:
        text = _end(PurePath(value)) if isinstance(value, str) and "/" in value else as_typed(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."
