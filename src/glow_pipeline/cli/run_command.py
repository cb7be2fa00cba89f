"""`kedro run`, which refuses in one line what Kedro would misread."""

import copy
from collections import Counter
from pathlib import Path
from typing import Any

import click
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.cli.utils import split_string

from glow_pipeline.cli.options import PARAMS_HELP, OneLine, read_params
from glow_pipeline.errors import first_line


class _Typed(click.Option):
    """An option that may be typed several times; a file given to `--config` may have its values as a mapping."""

    def type_cast_value(self, _: click.Context, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


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


RUN_HELP = """Run pipelines.

Without --pipelines these are ingest, train, sample and ood."""
HELP = {
    "params": PARAMS_HELP,
    "tags": "Run only nodes with one of these tags, with a comma between them.",
}
READERS = {"load_versions": _read_load_versions, "config": _read_config}


def _options() -> list[click.Parameter]:
    """Return Kedro's options, read by the functions above."""
    options: list[click.Parameter] = []
    for kedros in kedro_run.params:
        option = copy.copy(kedros)
        if isinstance(kedros, click.Option) and kedros.name == "params":
            option = _Typed(kedros.opts, type=click.UNPROCESSED, multiple=True, callback=read_params)
        if isinstance(option, click.Option):
            option.help = HELP.get(str(option.name), option.help)
        option.callback = READERS.get(str(option.name), option.callback)
        options.append(option)
    return options


run = RunCommand("run", callback=kedro_run.callback, params=_options(), help=RUN_HELP)
