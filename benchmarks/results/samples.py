"""Samples: a picture a preset, as its model draws them."""

import shutil
from pathlib import Path

from glow_pipeline.files import sha256, written_whole
from results.commands import configuration, newest, run, with_model
from results.origin import origin_now
from results.pages import NONE_YET
from results.presets import PRESETS, ordered
from results.rows import Row, Rows
from results.table import Table

PICTURES = Path(__file__).parents[2] / "docs" / "images"


def compute(preset: str, project: Path) -> Row:
    """Draw samples, and keep their picture among the documentation's."""
    run(with_model(preset, "sample", project), project)
    return stored(preset, project)


def stored(preset: str, project: Path) -> Row:
    """Return the row of the newest picture of samples, and keep that picture."""
    picture, kept = newest("samples", preset, project), f"samples_{preset}.png"
    with written_whole(PICTURES / kept) as unfinished:
        shutil.copyfile(picture, unfinished)
    return {
        **origin_now(with_model(preset, "sample", project), project),
        "version": picture.parent.name,
        "temperature": configuration(preset, project).checked_parameters.sample.temperature,
        "picture": kept,
        "sha256": sha256(picture),
    }


def blocks(rows: Rows) -> dict[str, str]:
    """Return the pictures, each with its command."""
    parts = [
        f"\n## {name}\n\n![Samples of {name} at temperature {row['temperature']}](../images/{row['picture']})\n\n"
        f"`{row['command']}`, temperature {row['temperature']}, commit {row['commit']}, {row['date']}.\n"
        for name in ordered(rows)
        for row in [rows[name]]
    ]
    return {"samples": "".join([*parts, "\n"]) if parts else NONE_YET}


TABLE = Table("samples", lambda _: PRESETS, compute, blocks, stored)
