"""The commands and the Python code in README.md, data/README.md and docs/.

A code block without a language, and an indented one, is a person's terminal: every line is a command, or, where some
lines start with `$ `, these are, and the others are what they print. Output alone is marked `text`.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.project import ROOT

DOCUMENTS = [ROOT / "README.md", ROOT / "data" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TERMINAL = ("", "bash", "console", "sh", "shell")
# Code within a sentence is a command if it starts with a program and says what it should do.
PROGRAMS = re.compile(
    r"(?:[A-Z_]+=\S+ )*(?:\.venv/bin/|srun )?(?:kedro|make|python|pytest|mlflow|pip|uv|git|docker|bash|du|"
    r"cp|mkdir|curl|(?:benchmarks|tests)/\S+\.(?:py|sh)) .+"
)
LOOP = re.compile(r"for (?P<name>\w+) in (?P<first>\S+) [^;]*; do (?P<body>.*); done")
ENVIRONMENT = re.compile(r"([A-Z_]+)=(.*)")


@dataclass(frozen=True)
class Command:
    """A command as it is typed, in one line and without its comment.

    Attributes:
        text: the line.
        document: the first document that has it.
        printed: the line after it, where the document shows what it prints; otherwise empty.
    """

    text: str
    document: str
    printed: str = ""

    def __str__(self) -> str:
        return f"{self.document}: {self.text}"

    @property
    def words(self) -> list[str]:
        """The words after the environment; of a loop those of its first pass."""
        return [word for word in self._all_words if not ENVIRONMENT.fullmatch(word)]

    @property
    def environment(self) -> dict[str, str]:
        return {found[1]: found[2] for found in map(ENVIRONMENT.fullmatch, self._all_words) if found is not None}

    @property
    def _all_words(self) -> list[str]:
        loop = LOOP.fullmatch(self.text)
        return shlex.split(self.text if loop is None else loop["body"].replace(f"${loop['name']}", loop["first"]))


@cache
def commands() -> list[Command]:
    """Return every command once."""
    found: dict[str, Command] = {}
    for document in DOCUMENTS:
        for token in _tokens(document):
            for line, printed in _lines(token):
                text = " ".join(re.sub(r"\s+#\s.*", "", line).split())
                found.setdefault(text, Command(text, str(document.relative_to(ROOT)), printed))
    return list(found.values())


def python_blocks() -> list[tuple[str, str]]:
    """Return the document and the code of each block of Python."""
    return [
        (str(document.relative_to(ROOT)), token.content)
        for document in DOCUMENTS
        for token in _tokens(document)
        if token.type == "fence" and token.info == "python"
    ]


@cache
def _tokens(document: Path) -> list[Token]:
    parsed = MarkdownIt("commonmark").enable("table").parse(document.read_text(encoding="utf-8"))
    return [each for token in parsed for each in (token, *(token.children or []))]


def _lines(token: Token) -> Iterator[tuple[str, str]]:
    """Yield each command with the line that it prints first."""
    if token.type == "code_inline" and PROGRAMS.fullmatch(token.content):
        yield token.content, ""
    elif token.type == "code_block" or (token.type == "fence" and token.info in TERMINAL):
        lines = [line for line in token.content.splitlines() if line.strip() and not line.startswith("#")]
        shows_output = any(line.startswith("$ ") for line in lines)
        for line, after in zip(lines, [*lines[1:], "$ "], strict=True):
            if not shows_output:
                yield line, ""
            elif line.startswith("$ "):
                yield line.removeprefix("$ "), "" if after.startswith("$ ") else after
