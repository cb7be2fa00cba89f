"""The commands of this project, one a file: `kedro run`, `serve`, `draw` and `versions`.

Kedro takes `cli` for the commands of the project, and `run` for `python -m glow_pipeline`.
"""

import click

from glow_pipeline.cli.draw_command import draw
from glow_pipeline.cli.run_command import run
from glow_pipeline.cli.serve_command import serve
from glow_pipeline.cli.versions_command import versions

__all__ = ["cli", "draw", "run", "serve", "versions"]


@click.group(name="glow_pipeline", commands=[run, serve, draw, versions])
def cli() -> None:
    """Run pipelines, serve verdicts, draw the pipelines, and clear up data/."""
