"""Samples: a picture a preset, as its model draws them."""

import shutil
from pathlib import Path

from glow_pipeline.files import sha256, written_whole
from glow_pipeline.training.model_digest import stored_weights_sha256
from results.commands import run, versions_of, with_model
from results.origin import origin_now
from results.pages import NONE_YET
from results.presets import ordered
from results.rows import Row, Rows
from results.table import Table

TEMPERATURE = 0.7
PICTURES = Path(__file__).parents[2] / "docs" / "images"


def compute(preset: str, project: Path) -> Row:
    """Draw samples, and keep their picture among the documentation's."""
    command, model = with_model(preset, "sample", project, f"sample.temperature={TEMPERATURE}")
    run(command, project)
    picture, kept = versions_of("samples", preset, project)[0], f"samples_{preset}.png"
    with written_whole(PICTURES / kept) as unfinished:
        shutil.copyfile(picture, unfinished)
    return {
        **origin_now(command, project),
        "version": picture.parent.name,
        "weights_sha256": stored_weights_sha256(model),
        "temperature": TEMPERATURE,
        "picture": kept,
        "sha256": sha256(picture),
    }


def blocks(rows: Rows) -> dict[str, str]:
    """Return the pictures, each with its command."""
    parts = [
        f"\n## {name}\n\n![Samples of {name} at temperature {row['temperature']}](../images/{row['picture']})\n\n"
        f"`{row['command']}`; weights `{row['weights_sha256'][:16]}`, commit {row['commit']}, {row['date']}.\n"
        for name in ordered(rows)
        for row in [rows[name]]
    ]
    return {"samples": "".join([*parts, "\n"]) if parts else NONE_YET}


TABLE = Table("samples", blocks, compute)
