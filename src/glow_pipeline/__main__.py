"""Runs the project as `python -m glow_pipeline`, which takes the options of `kedro run`."""

import sys
from pathlib import Path

from kedro.framework.cli.utils import find_run_command
from kedro.framework.project import configure_project


def main() -> None:
    """Run with the arguments of the command line."""
    package = Path(__file__).parent.name
    configure_project(package)
    find_run_command(package)(sys.argv[1:])


if __name__ == "__main__":
    main()
