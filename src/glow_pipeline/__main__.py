"""Run the project as `python -m glow_pipeline`, which takes the options of `kedro run`; also from a wheel."""

import os
import sys
from pathlib import Path


def main() -> None:
    """Run the pipelines that the command line names."""
    package = Path(__file__).parent
    # A folder without a project has neither conf/logging.yml nor .telemetry; Kedro reads both when it is imported.
    if not Path("conf/logging.yml").exists():
        os.environ.setdefault("KEDRO_LOGGING_CONFIG", str(package / "logging.yml"))
    if not Path(".telemetry").exists():
        os.environ.setdefault("KEDRO_DISABLE_TELEMETRY", "1")

    from kedro.framework.cli.utils import find_run_command
    from kedro.framework.project import configure_project

    configure_project(package.name)
    find_run_command(package.name)(sys.argv[1:])


if __name__ == "__main__":
    main()
