"""`make ui`: MLflow's UI for the runs of this project, and the addresses of its pages that a person wants first.

`python -m glow_pipeline.ui` opens what mlflow.yml and the environment choose: a database, for which it starts the UI on
127.0.0.1 at the port UI_PORT of the environment, or a server, which has a UI of its own.
"""

import os
import sys
from pathlib import Path

import click
from kedro.framework.project import settings
from kedro.framework.startup import bootstrap_project

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.local_server import HOST, check_port
from glow_pipeline.tracking.destination import Destination, TrackingConfig, destination
from glow_pipeline.tracking.failures import failure_line, mlflow_failures
from glow_pipeline.tracking.pages import is_server, server_of
from glow_pipeline.tracking.run_pages import first_pages


def main() -> None:
    """Print the addresses, and become MLflow's UI where a database is used.

    Raises:
        SystemExit: mlflow.yml or UI_PORT is wrong, or the port is in use.
    """
    project = Path.cwd()
    try:
        bootstrap_project(project)
        conf = settings.CONFIG_LOADER_CLASS(project / settings.CONF_SOURCE, **settings.CONFIG_LOADER_ARGS)
        place = destination(TrackingConfig.parse(conf["mlflow"]), project, os.environ)
        if not is_server(place.tracking_uri):
            check_port(place.ui_port, "ui")
    except GlowPipelineError as error:
        sys.exit(f"Error: {error}")
    click.echo("\n".join(lines_of_pages(place)))
    sys.stdout.flush()
    if is_server(place.tracking_uri):
        return
    # The jobs of its GenAI side would be eight processes more.
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", place.tracking_uri]
    os.execv(sys.executable, [*command, "--host", HOST, "--port", str(place.ui_port)])


def lines_of_pages(place: Destination) -> list[str]:
    """Return what to print: the pages of all runs and of the newest one, or that there are none yet."""
    server = server_of(place.tracking_uri, place.ui_port)
    if place.database is not None and not place.database.is_file():
        return [f"{server}: no runs are recorded yet; `make run` makes the first"]
    try:
        pages = first_pages(place.tracking_uri, place.experiment, server)
    except mlflow_failures() as error:
        return [f"{server}: {failure_line(error)}"]
    if not pages:
        return [f"{server}: experiment {place.experiment} has no runs yet; `make run` makes the first"]
    return [f"MLflow at {server}, in its mode for model training:", *(f"  {what:<19} {page}" for what, page in pages)]


if __name__ == "__main__":
    main()
