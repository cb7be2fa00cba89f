"""Kedro-Viz's server, in this process and on this machine alone."""

import warnings
from pathlib import Path
from typing import Any

import click
import uvicorn
from fastapi import FastAPI

from glow_pipeline.local_server import HOST

PATIENCE = 2  # seconds in which pages that are being loaded may finish after Ctrl-C or SIGTERM


def draw_pipelines(project: Path, package: str, env: str | None, parameters: dict[str, Any], port: int) -> None:
    """Serve the picture of the pipelines until Ctrl-C or SIGTERM.

    `kedro viz run` serves from a process of its own, which outlives SIGTERM and keeps the port, and asks PyPI for a
    newer version. Hooks are included: by them image tables and models are those of the parameters.

    Args:
        project: the project's folder.
        package: name of its package.
        env: the environment of the command, None for the default.
        parameters: typed ones, nested.
        port: on 127.0.0.1.
    """
    warnings.filterwarnings("ignore", message="ORJSONResponse is deprecated")  # for Kedro-Viz's authors
    from kedro_viz.api.apps import create_api_app_from_project
    from kedro_viz.data_access import data_access_manager
    from kedro_viz.integrations.kedro.data_loader import load_data
    from kedro_viz.server import populate_data

    catalog, pipelines, _ = load_data(project, env, include_hooks=True, package_name=package, extra_params=parameters)
    # Without the statistics of .viz/stats.json: they are of the last run whatever its images, and of a versioned file
    # they give the size of its folder.
    populate_data(data_access_manager, catalog, pipelines, {})
    app = create_api_app_from_project(project)
    _answer_version_without_pypi(app)
    config = uvicorn.Config(
        app,
        host=HOST,
        port=port,
        log_config=None,
        timeout_graceful_shutdown=PATIENCE,
    )
    click.echo(f"The pipelines are drawn at http://{HOST}:{port}/; Ctrl-C ends it.")
    uvicorn.Server(config).run()


def _answer_version_without_pypi(app: FastAPI) -> None:
    """Answer the page's question for a newer version from what is installed, as the pages of `kedro viz build` do.

    Kedro-Viz asks PyPI each time that a page is opened, for up to 30 seconds, and where there is no network the page
    announces a version that is called None.
    """
    from kedro_viz.api.rest.responses.version import get_static_version_response

    app.add_api_route("/api/version", get_static_version_response, methods=["GET"])
    app.router.routes.insert(0, app.router.routes.pop())  # the first that fits answers
