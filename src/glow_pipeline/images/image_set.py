"""Which images are meant: a source, perhaps some of its classes, and for a folder where it lies."""

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict


class ImageSet(BaseModel):
    """The images that `dataset` or `out_dataset` stands for.

    Attributes:
        source: a name in the registry.
        classes: only images of these; None for all.
        path, eval_path: of the source `folder`: absolute folders of training and of test images.
        eval_percentage, seed: of a folder without `eval_path`: share of its images, drawn by seed, that is for testing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    classes: tuple[int, ...] | None = None
    path: Path | None = None
    eval_path: Path | None = None
    eval_percentage: float | None = None
    seed: int | None = None

    @classmethod
    def of(cls, source: str, classes: Iterable[int] | None = None) -> Self:
        """Images of a source that has a place of its own."""
        return cls(source=source, classes=None if classes is None else tuple(sorted(set(classes))))

    @classmethod
    def of_folder(
        cls,
        path: str,
        eval_path: str | None,
        eval_percentage: float,
        seed: int,
        classes: Iterable[int] | None = None,
    ) -> Self:
        """A user's own images; the paths may be relative to the working directory or begin with ~."""
        return cls(
            source="folder",
            classes=None if classes is None else tuple(sorted(set(classes))),
            path=_absolute(path),
            eval_path=None if eval_path is None else _absolute(eval_path),
            eval_percentage=eval_percentage if eval_path is None else None,
            seed=seed if eval_path is None else None,
        )

    @property
    def key(self) -> str:
        """A folder name that no other images have: `octmnist`, `pneumoniamnist_class_0`, `folder_cats_1f2e3d4c`."""
        parts = [self.source]
        if self.path is not None:
            name = re.sub(r"[^\w-]+", "_", self.path.name, flags=re.ASCII)[:40]
            place = "\0".join([str(self.path), str(self.eval_path or "")])
            parts += [name, _short_hash(place)]
        if self.classes is not None:
            ranges = _ranges(self.classes)
            parts += ["class", ranges if len(ranges) <= 40 else _short_hash(ranges)]
        return "_".join(parts)

    def overlaps(self, other: "ImageSet") -> bool:
        """Whether an image may be in both."""
        # `octmnist_64` shows what `octmnist` shows.
        if self.source.partition("_")[0] != other.source.partition("_")[0]:
            return False
        if not self._places & other._places:
            # Of two folders one of which is in the other only the outer one's classes could keep them apart.
            return self._holds(other) or other._holds(self)
        return self.classes is None or other.classes is None or bool(set(self.classes) & set(other.classes))

    def _holds(self, other: "ImageSet") -> bool:
        """Whether folders of the other are inside a folder of this, all of whose images are meant."""
        pairs = [(outer, inner) for outer in self._places for inner in other._places if outer and inner]
        return self.classes is None and any(inner.is_relative_to(outer) for outer, inner in pairs)

    @property
    def _places(self) -> set[Path | None]:
        """Where the images lie, those for training and those for testing; None is the source's own place."""
        return {self.path, self.path if self.eval_path is None else self.eval_path}


def _absolute(path: str) -> Path:
    # pathlib's expanduser raises for a user who is not there, and its absolute leaves `a/../b` as it is.
    return Path(os.path.abspath(os.path.expanduser(path)))  # noqa: PTH100, PTH111


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:8]


def _ranges(classes: Sequence[int]) -> str:
    """(0, 1, 2, 7) -> `0-2_7`"""
    runs: list[list[int]] = []
    for k in classes:
        if runs and k == runs[-1][-1] + 1:
            runs[-1].append(k)
        else:
            runs.append([k])
    return "_".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
