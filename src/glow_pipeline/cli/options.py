"""Options that several commands have, and the errors of a wrong one."""

from collections.abc import Callable, Sequence
from typing import Any

import click

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.startup import without_gc

PARAMS_HELP = (
    "Parameters as name=value, with a comma between several: seed=1,model.K=4. docs/parameters.md has all. "
    "model=<name or path> is a trained model (docs/models.md)."
)


class OneLine(click.ClickException):
    """A usage error without click's three lines about the usage."""

    exit_code = 2


def read_params(_: click.Context, __: click.Parameter, value: Sequence[str] | dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of `--params`, nested as in parameters.yml."""
    if isinstance(value, dict):
        return value
    with without_gc():  # torch comes with it
        from glow_pipeline.cli.typed_model import with_named_model
        from glow_pipeline.parameters.command_line import parse_typed
    try:
        return with_named_model(parse_typed(value))
    except GlowPipelineError as error:
        raise click.ClickException(str(error)) from None


params_option = click.option("--params", type=click.UNPROCESSED, multiple=True, callback=read_params, help=PARAMS_HELP)
env_option = click.option("--env", help="Preset: settings of conf/<env>, which replace those of conf/base.")


def port_option(default: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the option of a server's port."""
    kind = click.IntRange(1, 65535)
    return click.option("--port", type=kind, default=default, show_default=True, help="Port on 127.0.0.1.")
