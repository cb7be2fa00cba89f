"""`kedro serve`: verdicts over HTTP."""

import os
from typing import Any

import click

from glow_pipeline.cli.options import env_option, params_option, port_option


@click.command()
@params_option
@env_option
@port_option(5001)
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes, each with the model.")
def serve(params: dict[str, Any], env: str | None, port: int, workers: int) -> None:
    """Answer over HTTP with verdicts on images.

    The model that --params name, by default the newest of the dataset, is registered with MLflow first, unless it is
    registered already.
    """
    from kedro.framework.project import settings

    from glow_pipeline.hooks.one_line import errors_in_one_line
    from glow_pipeline.local_server import check_port
    from glow_pipeline.serving.server import serve_model
    from glow_pipeline.tracking.destination import TrackingConfig, destination

    with errors_in_one_line():
        check_port(port, "serve")
        with settings.SESSION_CLASS.create(env=env, runtime_params=params) as session:
            registered = session.run(pipeline_names=["register"])["registered_detector"].load()
            context = session.load_context()
        config = TrackingConfig.parse(context.config_loader["mlflow"])
        place = destination(config, context.project_path, os.environ)
    click.echo(
        f"{registered['uri']} answers at http://127.0.0.1:{port}/invocations once it has started; Ctrl-C ends it."
    )
    serve_model(registered["uri"], place.tracking_uri, port, workers)
