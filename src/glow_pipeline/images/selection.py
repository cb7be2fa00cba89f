"""A selection of images: a source, some of its classes or all, and of a folder its path and name."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, field_serializer

from glow_pipeline.buckets import as_typed, is_address
from glow_pipeline.files import typed_path
from glow_pipeline.images.classes import Choice, key_of, numbers, sanitise

OWN = ("folder", "shards")  # sources of a person's own images


class ImageSelection(BaseModel):
    """The images of `dataset` or `out_dataset`.

    Attributes:
        source: a name in the registry.
        classes: only images of these; None for all. Numbers, or of a folder as typed (`classes.choose` finds them).
        path, eval_path: of a folder: absolute folders of training and of test images; an address in object storage is
            the path that pathlib makes of it (`buckets.as_typed` makes it an address again).
        eval_percentage, seed: of a folder without `eval_path`: percentage of its images for testing, and the seed by
            which they are drawn.
        name: of a folder, wherever it is; None: the last part of its path.
        class_names: of a folder that a stored model was trained on: its classes by number; None: those found in it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    classes: Choice | None = None
    path: Path | None = None
    eval_path: Path | None = None
    eval_percentage: float | None = None
    seed: int | None = None
    name: str | None = None
    class_names: tuple[str, ...] | None = None

    @classmethod
    def of(cls, source: str, classes: Iterable[int | str] | None = None) -> Self:
        """Select images of a published source.

        Raises:
            ValueError: a class is not a number.
        """
        chosen = None if classes is None else numbers(classes)
        if classes is not None and chosen is None:
            raise ValueError(f"classes of {source} are numbers")
        return cls(source=source, classes=chosen)

    @classmethod
    def of_folder(
        cls,
        path: str | None,
        eval_path: str | None,
        eval_percentage: float,
        seed: int,
        classes: Iterable[int | str] | None = None,
        name: str | None = None,
        source: str = "folder",
    ) -> Self:
        """Select a user's own images; paths may be addresses, relative to the working directory or begin with ~."""
        return cls(
            source=source,
            classes=None if classes is None else _in_order(tuple(classes)),
            path=None if path is None else _place(path),
            eval_path=None if eval_path is None else _place(eval_path),
            eval_percentage=eval_percentage if eval_path is None else None,
            seed=seed if eval_path is None else None,
            name=name,
        )

    @field_serializer("path", "eval_path")
    def _as_typed(self, path: Path | None) -> str | None:
        return None if path is None else as_typed(path)

    @property
    def is_folder(self) -> bool:
        """True for a user's own images. `path` may be unknown for those of a stored model."""
        return self.source in OWN

    @property
    def key(self) -> str:
        """Folder name of these images: `octmnist`, `pneumoniamnist_class_0`, `folder_xrays_class_normal`.

        The key of a folder depends on its name alone, so that it stays when the folder moves; two folders of one
        name share it.
        """
        parts = [self.source]
        if self.is_folder:
            parts.append(sanitise(self.name or (self.path and self.path.name) or "root"))
        if self.classes is not None:
            parts += ["class", key_of(self.classes)]
        return "_".join(parts)

    def distinct_from(self, other: Self) -> Self:
        """Return the selection under another name if it would have the key of another one.

        Keys are compared without case, so that artifacts are stored apart on all file systems.
        """
        if self.path is None or not other.is_folder or self._folders == other._folders:
            return self
        name = self.name or self.path.name
        above = self.path.parent.name
        candidates = [name, *([f"{above}_{name}"] if above else []), *(f"{name}_out{n}" for n in ("", 2, 3))]
        named = (self if name == self.path.name else self.model_copy(update={"name": name}) for name in candidates)
        return next(one for one in named if one.key.casefold() != other.key.casefold())

    def overlaps(self, other: "ImageSelection") -> bool:
        """Return whether an image may be in both; classes of folders have to be names (`folder.with_class_names`)."""
        # `octmnist_64` has the images of `octmnist`, larger.
        if self.source.partition("_")[0] != other.source.partition("_")[0]:
            return False
        if not self._places & other._places:
            return self._holds(other) or other._holds(self)
        return self.classes is None or other.classes is None or bool(set(self.classes) & set(other.classes))

    def _holds(self, other: "ImageSelection") -> bool:
        """Return whether images of the other are in a folder within one of these, and of the chosen classes."""
        pairs = [(outer, inner) for outer in self._places for inner in other._places if outer and inner]
        below = [inner.relative_to(outer).parts[0] for outer, inner in pairs if inner.is_relative_to(outer)]
        return bool(below) and (self.classes is None or not set(below).isdisjoint(map(str, self.classes)))

    @property
    def _folders(self) -> tuple[Path | None, Path | None]:
        return self.path, self.eval_path

    @property
    def _places(self) -> set[Path | None]:
        """The folders of the images for training and for testing; None for a source other than `folder`."""
        if not self.is_folder:
            return {None}
        # pathlib's resolve raises for a loop of links.
        return {Path(os.path.realpath(place)) for place in (self.path, self.eval_path or self.path) if place}


def _place(typed: str) -> Path:
    return Path(typed) if is_address(typed) else typed_path(typed)


def _in_order(classes: Choice) -> Choice:
    """Return numbers sorted, or names in their order; each once."""
    chosen = numbers(classes)
    only_numbers = all(isinstance(part, int) for part in classes)
    return chosen if chosen is not None and only_numbers else tuple(dict.fromkeys(classes))
