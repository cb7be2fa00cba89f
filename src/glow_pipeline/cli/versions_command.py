"""`kedro versions`: what is stored below data/ and in buckets, and its removal."""

import os
import re
import sys
from collections.abc import Mapping
from typing import Any

import click

from glow_pipeline.cli.options import OneLine, env_option


def _read_days(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    """Read `30d` or `12h` as days."""
    if value is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([dh])", value)
    if found is None:
        raise OneLine(f"--older-than {value}: should be days or hours, as 30d or 12h")
    return float(found[1]) / (24 if found[2] == "h" else 1)


@click.command()
@click.option(
    "--remove",
    metavar="VERSIONS",
    help="Versions to remove, or beginnings of their names, with a comma between several; or all.",
)
@click.option("--dataset", metavar="IMAGES", help="Only what was made of these images, such as digits.")
@click.option("--entry", metavar="NAME", help="Only this entry of the catalog, such as glow_model.")
@click.option(
    "--keep", metavar="N", type=click.IntRange(0), default=0, help="With --remove: keep the newest N of each."
)
@click.option("--older-than", metavar="AGE", callback=_read_days, help="Only what is older than this: 30d, 12h.")
@click.option("--entries", is_flag=True, help="List each entry of a version in a line of its own.")
@click.option("--yes", is_flag=True, help="Remove without a question.")
@click.option("--force", is_flag=True, help="Remove even what something else needs.")
@env_option
def versions(
    remove: str | None,
    dataset: str | None,
    entry: str | None,
    keep: int,
    older_than: float | None,
    entries: bool,
    yes: bool,
    force: bool,
    env: str | None,
) -> None:
    """List what is stored in data/ and in buckets, or remove some of it.

    The list has sizes, MLflow runs, and what needs each version. docs/data.md has examples.
    """
    from kedro.framework.project import settings

    from glow_pipeline.datasets.housekeeping.command import Request, run_versions
    from glow_pipeline.hooks.one_line import errors_in_one_line
    from glow_pipeline.tracking.destination import TrackingConfig, destination

    labels = tuple(label for label in (remove or "").split(",") if label)
    if remove is not None and not labels:
        raise OneLine("--remove: type versions, their beginnings, or all")
    if not labels and (keep or yes or force):
        raise OneLine("--keep, --yes and --force: they belong to --remove; type it too")
    with errors_in_one_line(), settings.SESSION_CLASS.create(env=env) as session:
        context = session.load_context()
        config = TrackingConfig.parse(context.config_loader["mlflow"])
        place = destination(config, context.project_path, os.environ) if config.enabled else None
        request = Request(labels, dataset, entry, keep, older_than, entries, yes, force)
        catalog = _with_credentials(context.config_loader.open_catalog(), context._get_config_credentials())
        run_versions(catalog, context.project_path, place, request, click.echo, _confirmed)


def _with_credentials(catalog: Mapping[str, Any], credentials: Mapping[str, Any]) -> dict[str, Any]:
    """Return a catalog with the credentials that its entries name."""
    return {
        name: {**entry, "credentials": credentials.get(entry["credentials"])}
        if isinstance(entry, Mapping) and isinstance(entry.get("credentials"), str)
        else entry
        for name, entry in catalog.items()
    }


def _confirmed(question: str) -> bool:
    """Ask on a terminal; elsewhere the answer is no."""
    return sys.stdin.isatty() and click.confirm(question)
