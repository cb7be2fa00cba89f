"""Parsing of `--params`, each value by the type of its parameter.

Kedro splits at every comma and reads each part as YAML, which turns `/data/set #2` into `/data/set`, `2024` into a
number, `010` into 8 and `1:30` into 90. Here a text parameter takes the text exactly as typed.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml

from glow_pipeline.errors import GlowPipelineError, first_line
from glow_pipeline.parameters.names import all_fields, known_names, nearest
from glow_pipeline.parameters.root import Parameters

NAME = r"[A-Za-z_][\w-]*(?:\.[\w-]+)*"
ITEM = re.compile(rf"\s*({NAME})\s*=", re.ASCII)
NEXT_ITEM = re.compile(rf",(?=\s*{NAME}\s*=)", re.ASCII)
QUOTED = re.compile(rf"""\s*(('|").*?\2)\s*(?:,(?=\s*{NAME}\s*=)|$)""", re.ASCII | re.DOTALL)
INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
DIGITS = re.compile(r"[-+]?[0-9]+")
FLOAT = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
MODEL = "model"  # a group of parameters, or as a text a trained model
ANY = frozenset({bool, int, float, str, list, dict, NoneType})
TEXT = frozenset({str, NoneType})
LONGEST_NUMBER = 1000  # characters; Python refuses to parse integers of more than 4300
UNTYPABLE = "???"  # OmegaConf's sign for a value that is still missing


def parse_typed(texts: Sequence[str]) -> dict[str, Any]:
    """Parse `name=value,name=value` into nested values; several `--params` count as one.

    A comma is part of a value unless a `name=` follows it. A value in quotes is taken literally.

    Raises:
        GlowPipelineError: one line about the first item that cannot be parsed.
    """
    values: dict[str, Any] = {}
    for text in texts:
        before: str | None = None
        for name, written in _items(text):
            if before is not None and not _known(name) and _kinds(before) <= TEXT:
                raise _refusal(
                    f"--params: {name}={written}: unknown parameter; {nearest(name, known_names())} "
                    f'If it belongs to {before}, put that value in quotes: {before}="..."'
                )
            before = name
            value = _read(name, written)
            if name in values and values[name] != value:
                raise _refusal(f"--params: {name}={values[name]} and {name}={value}: leave one of them out")
            values[name] = value
    return nested(values)


def _items(text: str) -> Iterator[tuple[str, str]]:
    """Yield (name, value as written) in the order of typing."""
    try:
        text.encode()
    except UnicodeEncodeError:
        shown = text.encode(errors="backslashreplace").decode()
        raise _refusal(
            f"--params {shown}: is not UTF-8; rename the file or folder, or write it with a link of another name"
        ) from None
    rest = text
    while rest.strip():
        item = ITEM.match(rest)
        if item is None:
            raise _refusal(_no_item(rest))
        name, rest = item[1], rest[item.end() :]
        if rest.lstrip()[:1] in ("'", '"'):
            quoted = QUOTED.match(rest)
            if quoted is None:
                raise _refusal(f"--params: {name}={rest}: the quote does not end; close it, or leave it out")
            yield name, quoted[1]
            rest = rest[quoted.end() :]
            continue
        end = NEXT_ITEM.search(rest)
        yield name, rest if end is None else rest[: end.start()]
        rest = "" if end is None else rest[end.end() :]


def _no_item(text: str) -> str:
    colon = re.match(rf"\s*({NAME})\s*:\s*(.*)", text, re.ASCII | re.DOTALL)
    if colon is not None:
        return f"--params {text}: should be name=value; write {colon[1]}={colon[2]}"
    return f"--params {text}: should be name=value, several with a comma between them: seed=1,model.K=4"


def _refusal(message: str) -> GlowPipelineError:
    return GlowPipelineError(message.replace("\n", "\\n"))  # typed text may have line breaks


def _known(name: str) -> bool:
    return name in known_names() or name in Parameters.model_fields or name.startswith(("search.ranges.", "own."))


def _read(name: str, written: str) -> Any:
    """Return the value of one parameter."""
    kinds, text = _kinds(name), written.strip()
    if not text:
        raise _refusal(f"--params: {name}=: no value; write one, or null, or leave it out")
    if text == UNTYPABLE:
        raise _refusal(f"--params: {name}={text}: cannot be typed; as a path it is ./{text}")
    if text[0] in "'\"":
        return text[1:-1]
    if kinds <= TEXT and text != written:
        raise _refusal(
            f"--params: {name}={written!r}: a space at its begin or end; leave it out, or put the value in quotes"
        )
    if text[0] in "[{" and kinds & {list, dict}:
        return _flow(name, text, kinds)
    return _scalar(text, TEXT if name == MODEL else kinds)


def _scalar(text: str, kinds: frozenset[Any]) -> Any:
    """Parse a number, true, false or null where the parameter allows it; return other text as it is."""
    if text.lower() == "null" and kinds != {str}:
        return None
    if text.lower() in WORDS and bool in kinds:
        return WORDS[text.lower()]
    if kinds & {int, float} and len(text) < LONGEST_NUMBER:
        if INTEGER.fullmatch(text) or (DIGITS.fullmatch(text) and str not in kinds):
            return int(text)
        if FLOAT.fullmatch(text) and not DIGITS.fullmatch(text) and (float in kinds or str not in kinds):
            return float(text)
    return text


def _flow(name: str, text: str, kinds: frozenset[Any]) -> Any:
    """Parse a list or mapping in YAML's flow style."""

    def value(node: yaml.Node) -> Any:
        if isinstance(node, yaml.SequenceNode):
            return [value(inner) for inner in node.value]
        if isinstance(node, yaml.MappingNode):
            return {key.value: value(inner) for key, inner in node.value}
        return node.value if node.style else _scalar(node.value, kinds | {NoneType})

    try:
        return value(yaml.compose(text, Loader=yaml.SafeLoader))
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or first_line(error)
        raise _refusal(f"--params: {name}={text}: not a list or mapping: {problem}") from None


def _kinds(name: str) -> frozenset[Any]:
    """Return the Python types that a parameter may have; all types for an unknown name."""
    field = all_fields().get(name)
    kinds = ANY if field is None else frozenset(_types(field.annotation))
    return kinds if kinds <= ANY else ANY


def _types(annotation: Any) -> Iterator[Any]:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _types(arguments[0])
    elif origin in (Union, UnionType):
        for argument in arguments:
            yield from _types(argument)
    elif origin is Literal:
        yield from map(type, arguments)
    elif origin is not None:
        yield origin
        for argument in arguments:
            yield from _types(argument)
    else:
        yield annotation


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Convert {"model.K": 4} to {"model": {"K": 4}}.

    Raises:
        GlowPipelineError: a group is typed both as a whole and by a parameter of it.
    """
    named, parts = values.get(MODEL), [name for name in values if name.startswith(f"{MODEL}.")]
    if isinstance(named, str) and parts:
        raise _refusal(
            f"--params: {parts[0]}={values[parts[0]]}: {MODEL}={named} is a trained model, which has its own; leave "
            f"one of them out"
        )
    result: dict[str, Any] = {}
    for name, value in values.items():
        *groups, leaf = name.split(".")
        inner = result
        for group in groups:
            inner = inner.setdefault(group, {})
            if not isinstance(inner, dict):
                raise _refusal(f"--params: {name}={value}: {group}={inner} is typed too; leave one of them out")
        if leaf in inner:
            raise _refusal(f"--params: {name}={value}: is typed as part of its group too; leave one of them out")
        inner[leaf] = value
    return result
