"""Previews of the catalog's entries in Kedro-Viz.

A dataset has a method `preview`, whose annotation tells Kedro-Viz the kind: a table, a picture, JSON or HTML.
"""

import base64
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from kedro_datasets._typing import HTMLPreview, ImagePreview, JSONPreview, TablePreview
from matplotlib.figure import Figure
from pandas.api.types import is_float_dtype
from PIL import Image

from glow_pipeline.plots.style import DPI

NOT_MADE: Any = None
"""The preview of an entry that no run has made yet, of any kind: Kedro-Viz shows none, and warns of an error."""

ROWS = 10
DIGITS = 5  # significant ones
GAP = 4  # pixels
TAG = re.compile(r"(<style.*?</style>|<!--.*?-->|<[^>]*>)", re.DOTALL)
MARKED = re.compile(r"[^\s`]*[_*~\[][^\s`]*")  # a word with a character that means something in Markdown
FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
PICTURE = re.compile(r"!\[[^\]]*\]\([^)]*\)")


def table_preview(table: pd.DataFrame) -> TablePreview:
    """Return the rows of a small table, with numbers of few digits, and blanks where nothing is known."""
    shown = table.reset_index(drop=True)
    for name in filter(lambda name: is_float_dtype(shown[name]), shown.columns):
        shown[name] = [float(f"{value:.{DIGITS}g}") for value in shown[name]]
    return TablePreview(shown.astype(object).where(shown.notna(), "").to_dict(orient="split"))


def csv_preview(path: Path) -> TablePreview:
    """Return the first rows of a CSV file."""
    return table_preview(pd.read_csv(path, nrows=ROWS))


def parquet_preview(path: Path) -> TablePreview:
    """Return the first rows of a parquet file; no others are read."""
    from pyarrow.parquet import ParquetFile  # here, because only Kedro-Viz needs it

    with ParquetFile(path) as file:
        first = next(file.iter_batches(batch_size=ROWS), None)
        return table_preview(file.schema_arrow.empty_table().to_pandas() if first is None else first.to_pandas())


def json_preview(content: dict[str, Any]) -> JSONPreview:
    """Return values that JSON knows, nested."""
    return JSONPreview(json.dumps(content))


def json_file_preview(path: Path) -> JSONPreview:
    """Return a JSON file."""
    return JSONPreview(path.read_text(encoding="utf-8"))


def yaml_preview(path: Path) -> JSONPreview:
    """Return the values of a YAML file."""
    return json_preview(yaml.safe_load(path.read_text(encoding="utf-8")))


def html_preview(page: str) -> HTMLPreview:
    """Return a page whose text Kedro-Viz shows as it is.

    Kedro-Viz takes a page for Markdown, in which `my_file_1.png` would lose its underscores, unless it is code.
    """
    parts = TAG.split(page)
    parts[::2] = [MARKED.sub(r"`\g<0>`", " ".join(text.split("\n"))) for text in parts[::2]]
    return HTMLPreview("".join(parts))


def markdown_preview(text: str) -> HTMLPreview:
    """Return a text in Markdown, without the metadata at its head and without pictures, which no page can reach."""
    from markdown_it import MarkdownIt  # here, because only Kedro-Viz needs it

    return html_preview(MarkdownIt("commonmark").enable("table").render(PICTURE.sub("", FRONT_MATTER.sub("", text))))


def figure_preview(figure: Figure) -> ImagePreview:
    """Return a figure as a PNG in base64."""
    png = io.BytesIO()
    figure.savefig(png, dpi=DPI, format="png")
    return ImagePreview(base64.b64encode(png.getvalue()).decode())


def file_preview(png: Path) -> ImagePreview:
    """Return a PNG in base64."""
    return ImagePreview(base64.b64encode(png.read_bytes()).decode())


def stacked_preview(files: Sequence[Path]) -> ImagePreview:
    """Return pictures below each other as a PNG in base64."""
    pictures: list[Image.Image] = []
    for file in files:
        with Image.open(file) as opened:
            pictures.append(opened.convert("RGB"))
    width = max(picture.width for picture in pictures)
    stacked = Image.new("RGB", (width, sum(picture.height + GAP for picture in pictures) - GAP), "white")
    top = 0
    for picture in pictures:
        stacked.paste(picture, (0, top))
        top += picture.height + GAP
    png = io.BytesIO()
    stacked.save(png, format="PNG")
    return ImagePreview(base64.b64encode(png.getvalue()).decode())
