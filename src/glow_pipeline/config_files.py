"""Errors in the files of conf/, each reported as one line with the file and the line number."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import yaml
from yaml import MappingNode, Node, ScalarNode

SURPRISING = re.compile(r"[-+]?(0[0-7_]+|[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?)")  # octal, and in base 60
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class ConfigFile:
    """A file of conf/: its name for messages, and its content."""

    name: str
    content: bytes

    def line_of(self, dotted: str) -> int | None:
        """Return the line in which a value is set, from 1; None if this file does not set it or is not YAML."""
        try:
            return next((line for name, line in _lines(_root(self)) if name == dotted), None)
        except (yaml.YAMLError, UnicodeDecodeError):
            return None


def error_in(file: ConfigFile) -> str | None:
    """Return one line about why this is no file of names and values; None if it is one."""
    if file.content.startswith(UTF16_MARKS) or b"\0" in file.content:
        return f"{file.name}: is UTF-16; save it as UTF-8"
    try:
        root = _root(file)
    except UnicodeDecodeError as error:
        line = file.content[: error.start].count(b"\n") + 1
        byte = file.content[error.start]
        return f"{file.name}:{line}: byte 0x{byte:02x} is not UTF-8; save the file as UTF-8"
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = 1 if mark is None else mark.line + 1
        problem = error.problem or error.context
        if problem and "'\\t'" in problem:
            return f"{file.name}:{line}: a tab; indent with spaces"
        return f"{file.name}:{line}: not valid YAML: {problem}"
    except yaml.reader.ReaderError as error:
        line = file.content.decode("utf8")[: error.position].count("\n") + 1
        return f"{file.name}:{line}: character {error.character:#x} is not allowed in YAML; delete it"
    if root is None:
        return None
    if not isinstance(root, MappingNode):
        kind = "a list" if isinstance(root, yaml.SequenceNode) else "a text"
        return f"{file.name}:{root.start_mark.line + 1}: {kind}; expected are names with values, as `seed: 1`"
    return _key_twice(file, root)


def repeated_key(files: list[ConfigFile], *, leaves_count: bool) -> str | None:
    """Return one line about a name that two files of one environment set.

    Args:
        files: Of one environment; each is valid by itself.
        leaves_count: Whether files may share a group as long as they set different names of it.
    """
    seen: dict[str, str] = {}
    for file in files:
        for name, line in _lines(_root(file), leaves_only=leaves_count):
            if not leaves_count and ("." in name or name.startswith("_")):
                continue
            place = f"{file.name}:{line}"
            if name in seen:
                return f"{place}: {name} is set in {seen[name]} too; delete one"
            seen[name] = place
    return None


def surprising_number(file: ConfigFile) -> str | None:
    """Return one line about a number that YAML 1.1 reads otherwise than it looks: `010` is 8 and `1:30` is 90."""
    for name, node in _scalars(_root(file)):
        if node.style is None and node.tag.endswith((":int", ":float")) and SURPRISING.fullmatch(node.value):
            place = f"{file.name}:{node.start_mark.line + 1}"
            return f'{place}: {name}: {node.value} is another number in YAML; write it in base 10, or "{node.value}"'
    return None


def _scalars(node: Node | None, name: str = "") -> Iterator[tuple[str, ScalarNode]]:
    """Yield all values that are no lists or groups, with the dotted names that they are below."""
    if isinstance(node, ScalarNode):
        yield name, node
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _scalars(item, name)
    elif isinstance(node, MappingNode):
        for key, value in node.value:
            yield from _scalars(value, f"{name}.{key.value}" if name else str(key.value))


def dotted_key(file: ConfigFile) -> str | None:
    """Return one line about a name such as `model.K` at the top of a file, where it belongs below its group."""
    for node, value in _pairs(_root(file)):
        group, dot, leaf = str(node.value).partition(".")
        if dot:
            shown = value.value if isinstance(value, ScalarNode) else "..."
            place = f"{file.name}:{node.start_mark.line + 1}"
            return f"{place}: {node.value}: in a file, names stand below their group: `{group}: {{{leaf}: {shown}}}`"
    return None


@lru_cache(maxsize=100)  # a command reads each file for several checks, and a notebook runs several commands
def _root(file: ConfigFile) -> Node | None:
    root: Node | None = yaml.compose(file.content.decode("utf8"), Loader=yaml.SafeLoader)
    return root


def _pairs(node: Node | None) -> Iterator[tuple[ScalarNode, Node]]:
    if isinstance(node, MappingNode):
        yield from ((key, value) for key, value in node.value if isinstance(key, ScalarNode))


def _lines(node: Node | None, prefix: str = "", *, leaves_only: bool = False) -> Iterator[tuple[str, int]]:
    """Yield (dotted name, line from 1) of all that a node sets."""
    for key, value in _pairs(node):
        name = f"{prefix}{key.value}"
        if not (leaves_only and isinstance(value, MappingNode)):
            yield name, key.start_mark.line + 1
        yield from _lines(value, f"{name}.", leaves_only=leaves_only)


def _key_twice(file: ConfigFile, node: Node) -> str | None:
    first: dict[str, int] = {}
    for key, value in _pairs(node):
        line = key.start_mark.line + 1
        if key.value in first and key.value != "<<":
            return f"{file.name}:{line}: {key.value} again, as in line {first[key.value]}; put both together"
        first[key.value] = line
        if (line_about := _key_twice(file, value)) is not None:
            return line_about
    return None
