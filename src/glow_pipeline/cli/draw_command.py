"""`kedro draw`: the pipelines as a picture in the browser."""

from typing import Any

import click
from kedro.framework.startup import ProjectMetadata

from glow_pipeline.cli.options import env_option, params_option, port_option


@click.command()
@params_option
@env_option
@port_option(4141)
@click.pass_obj
def draw(metadata: ProjectMetadata, params: dict[str, Any], env: str | None, port: int) -> None:
    """Draw the pipelines in the browser (Kedro-Viz).

    Figures and tables are previewed: those of --params, otherwise the newest in data/.
    """
    from glow_pipeline.drawing.newest import newest_parameters
    from glow_pipeline.drawing.server import draw_pipelines
    from glow_pipeline.hooks.one_line import errors_in_one_line
    from glow_pipeline.local_server import check_port
    from glow_pipeline.parameters import as_typed, flattened

    with errors_in_one_line():
        check_port(port, "viz")
        shown = params or newest_parameters(metadata.project_path / "data")
        if shown and not params:
            typed = ",".join(f"{name}={as_typed(value)}" for name, value in flattened(shown).items())
            click.echo(f"The newest results are those of {typed}; for others type --params (make viz PARAMS=...).")
        draw_pipelines(metadata.project_path, metadata.package_name, env, shown, port)
