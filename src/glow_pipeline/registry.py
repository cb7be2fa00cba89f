"""The choices of a parameter by name; a user's own code may add to them."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol, TypeVar

NAME = re.compile("[a-z][a-z0-9_]*")
ALL = "all"  # means every choice where several may be typed


class Choice(Protocol):
    """An entry of a registry."""

    @property
    def name(self) -> str:
        """Return the name as it is typed."""

    @property
    def summary(self) -> str:
        """Return a short phrase for the documentation of the parameter."""


C = TypeVar("C", bound=Choice)


class Registry(Mapping[str, C]):
    """Choices by name, in the order in which they were registered.

    Args:
        kind: noun for messages, as "score".
        choices: those of the package.
        reserved: names that no choice may have.
    """

    def __init__(self, kind: str, choices: Iterable[C], reserved: Iterable[str] = ()) -> None:
        self.kind = kind
        self._choices: dict[str, C] = {}
        self._reserved = {ALL, *reserved}
        for choice in choices:
            self.register(choice)

    def __getitem__(self, name: str) -> C:
        return self._choices[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._choices)

    def __len__(self) -> int:
        return len(self._choices)

    def register(self, choice: C) -> C:
        """Add a choice and return it.

        Raises:
            ValueError: its name is taken, or cannot be part of a command and of a file's name.
        """
        if choice.name in self or choice.name in self._reserved:
            raise ValueError(f"{self.kind} {choice.name}: the name is taken; choose another")
        if not NAME.fullmatch(choice.name):
            raise ValueError(
                f"{self.kind} {choice.name!r}: should be small letters, digits and underscores, and begin with a letter"
            )
        self._choices[choice.name] = choice
        return choice

    def remove(self, name: str) -> None:
        """Remove a choice."""
        del self._choices[name]

    def summaries(self) -> str:
        """Return all choices in one line: `normal: a grid; vtemp: ...`."""
        return "; ".join(f"{choice.name}: {choice.summary}" for choice in self.values())
