"""`kedro run` of this project, Kedro's command that refuses in one line what it would misread, and `kedro serve`.

Kedro takes `cli` for the commands of the project, and `run` for `python -m glow_pipeline`.
"""

import copy
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.cli.utils import split_string

from glow_pipeline.errors import GlowPipelineError, first_line
from glow_pipeline.startup import without_gc


class _Typed(click.Option):
    """An option that may be typed several times; a file given to `--config` may have its values as a mapping."""

    def type_cast_value(self, _: click.Context, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


class OneLine(click.ClickException):
    """A usage error without click's three lines about the usage."""

    exit_code = 2


class Interrupted(click.ClickException):
    """Ctrl-C in the seconds before the run has started."""

    exit_code = 130


class RunCommand(click.Command):
    """A command that refuses in one line what Kedro ignores in silence or answers with pages of traceback."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        try:
            return super().make_context(info_name, args, parent, **extra)
        except KeyboardInterrupt:
            raise Interrupted("interrupted") from None
        except click.UsageError as error:
            message = error.format_message()
            if message.startswith("Got unexpected extra argument"):
                message += "; pipelines are named after --pipelines: kedro run --pipelines train"
            raise OneLine(message) from None

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        typed, _, order = self.make_parser(ctx).parse_args(args=list(args))
        for option, times in Counter(order).items():
            flag = option.opts[0]
            if times > 1 and isinstance(option, click.Option) and not (option.is_flag or option.multiple):
                raise click.ClickException(f"{flag}: typed {times} times, and only the last would count; type it once")
            value = typed.get(str(option.name))
            if isinstance(value, str) and not value.strip(" ,"):
                raise click.ClickException(f"{flag} {value!r}: empty; type a value, or leave {flag} out")
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        from glow_pipeline.hooks.command_line import check_options
        from glow_pipeline.hooks.one_line import errors_in_one_line

        try:
            with errors_in_one_line():
                ctx.params |= check_options(ctx.params)
                return super().invoke(ctx)
        except KeyboardInterrupt:  # before the run has its own handlers of signals
            raise Interrupted("interrupted") from None


def _read_params(_: click.Context, __: click.Parameter, value: Sequence[str] | dict[str, Any]) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    with without_gc():  # torch comes with it
        from glow_pipeline.parameters.command_line import parse_typed
    try:
        return parse_typed(value)
    except GlowPipelineError as error:
        raise click.ClickException(str(error)) from None


def _read_load_versions(ctx: click.Context, param: click.Parameter, value: str) -> dict[str, str]:
    versions: dict[str, str] = {}
    for item in split_string(ctx, param, value):
        name, colon, version = item.partition(":")
        if not colon:
            name, _, version = item.partition("=")
        if not (colon and name and version) or "/" in version or "\\" in version or version in (".", ".."):
            shown = f"{name or 'glow_model'}:{version or '2026-01-31T12.00.00.000Z'}"
            raise click.ClickException(f"--load-versions {item}: should be dataset:version, as {shown}")
        versions[name] = version
    return versions


def _read_config(ctx: click.Context, _: click.Parameter, value: str | None) -> str | None:
    """Take the options that were not typed from the `run` section of a YAML file."""
    if value is None:
        return None
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from glow_pipeline.config_files import ConfigFile, error_in
    from glow_pipeline.parameters import nearest

    try:
        file = ConfigFile(value, Path(value).read_bytes())
        if (line := error_in(file)) is not None:
            raise click.ClickException(line)
        content = OmegaConf.to_container(OmegaConf.create(file.content.decode()), resolve=True)
    except (OSError, OmegaConfBaseException) as error:
        raise click.ClickException(f"--config {value}: {first_line(error)}") from None
    section = content.get("run") if isinstance(content, dict) else None
    if not isinstance(section, dict):
        raise click.ClickException(f"--config {value}: no section `run:` with options below it")
    known = [str(option.name) for option in run.params if option.name != "config"]
    for name in map(str, section):
        if name not in known:
            raise click.ClickException(f"--config {value}: {name}: no such option; {nearest(name, known)}")
    ctx.default_map = {
        **(ctx.default_map or {}),
        **{str(k): ",".join(map(str, v)) if isinstance(v, list) else v for k, v in section.items()},
    }
    return value


HELP = {
    "params": "Parameters as name=value, with a comma between several: seed=1,model.K=4. docs/parameters.md has all.",
    "tags": "Run only nodes with one of these tags, with a comma between them.",
}
READERS = {"load_versions": _read_load_versions, "config": _read_config}


def _options() -> list[click.Parameter]:
    """Return Kedro's options, read by the functions above."""
    options: list[click.Parameter] = []
    for kedros in kedro_run.params:
        option = copy.copy(kedros)
        if isinstance(kedros, click.Option) and kedros.name == "params":
            option = _Typed(kedros.opts, type=click.UNPROCESSED, multiple=True, callback=_read_params)
        if isinstance(option, click.Option):
            option.help = HELP.get(str(option.name), option.help)
        option.callback = READERS.get(str(option.name), option.callback)
        options.append(option)
    return options


run = RunCommand("run", callback=kedro_run.callback, params=_options(), help=kedro_run.help)


@click.command()
@click.option("--params", type=click.UNPROCESSED, multiple=True, callback=_read_params, help=HELP["params"])
@click.option("--env", help="Configuration below conf/ that comes before conf/base.")
@click.option("--port", type=click.IntRange(1, 65535), default=5001, show_default=True, help="On 127.0.0.1.")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes, each with the model.")
def serve(params: dict[str, Any], env: str | None, port: int, workers: int) -> None:
    """Answer requests over HTTP with verdicts of a stored model.

    The model is registered with MLflow first, unless it is registered already.
    """
    from kedro.framework.project import settings

    from glow_pipeline.hooks.one_line import errors_in_one_line
    from glow_pipeline.serving.server import check_port, serve_model
    from glow_pipeline.tracking.destination import TrackingConfig, destination

    with errors_in_one_line():
        check_port(port)
        with settings.SESSION_CLASS.create(env=env, runtime_params=params) as session:
            registered = session.run(pipeline_names=["register"])["registered_detector"].load()
            context = session.load_context()
        config = TrackingConfig.parse(context.config_loader["mlflow"])
        place = destination(config, context.project_path, os.environ)
    click.echo(
        f"{registered['uri']} answers at http://127.0.0.1:{port}/invocations once it has started; Ctrl-C ends it."
    )
    serve_model(registered["uri"], place.tracking_uri, port, workers)


@click.group(name="glow_pipeline", commands=[run, serve])
def cli() -> None:
    """Commands of this project."""
