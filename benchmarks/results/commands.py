"""Commands of this project, and what they have stored."""

import ctypes
import shlex
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from kedro.framework.project import settings
from kedro.framework.startup import bootstrap_project

from glow_pipeline.config_loader import ConfigLoader
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import stored_versions
from glow_pipeline.images.sources.registry import source_of
from glow_pipeline.training.model_file import MODEL_FILE, read_record
from results.presets import decided
from results.rows import RowLeftOut

PR_SET_PDEATHSIG = 1  # of <sys/prctl.h>


def run(command: str, project: Path) -> None:
    """Run a `kedro run` as it is typed. When this process is ended the command is too: a training writes a checkpoint.

    Raises:
        GlowPipelineError: it failed.
    """
    print(f"\n$ {command}", file=sys.stderr, flush=True)  # noqa: T201
    words = [sys.executable, "-m", *shlex.split(command)]
    with subprocess.Popen(words, cwd=project, preexec_fn=end_with_parent) as running:
        try:
            code = running.wait()
        except KeyboardInterrupt:  # the command has it too
            running.wait()
            raise
        except SystemExit:
            running.terminate()
            running.wait()
            raise
    if code:
        raise GlowPipelineError(f"{command}: ended with code {code}; see above, and type the same command again")


def end_with_parent() -> None:
    """Ask Linux to end this process by SIGTERM when its parent is killed, which could not do it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def configuration(preset: str, project: Path, typed: dict[str, Any] | None = None) -> ConfigLoader:
    """Return the configuration of commands with `--env <preset>`, and these parameters after `--params`.

    Raises:
        GlowPipelineError: there is no such preset.
    """
    if not (project / "conf" / preset).is_dir():
        names = sorted(path.name for path in (project / "conf").iterdir() if path.is_dir())
        raise GlowPipelineError(f"{preset}: no such preset; name a folder of conf/: {', '.join(names)}")
    _bootstrap()
    loader: ConfigLoader = settings.CONFIG_LOADER_CLASS(
        str(project / "conf"), env=preset, runtime_params=typed or {}, **settings.CONFIG_LOADER_ARGS
    )
    return loader


@cache
def _bootstrap() -> None:
    """Let Kedro find the settings of this project, which are those of its copies."""
    bootstrap_project(Path(__file__).parents[2])


def versions_of(entry: str, preset: str, project: Path) -> list[Path]:
    """Return what is stored of an entry of the catalog, the newest first."""
    return stored_versions(project / configuration(preset, project)["catalog"][entry]["filepath"])


def newest_model(preset: str, project: Path) -> Path:
    """Return the newest model whose training had all that the preset decides, however it was typed.

    Raises:
        RowLeftOut: there is none.
    """
    wanted = decided(configuration(preset, project).checked_parameters)
    for path in versions_of("glow_model", preset, project):
        if decided(read_record(path).parameters) == wanted:
            return path
    raise RowLeftOut(f"no model is trained yet; first make results TABLE=likelihood ROWS={preset}")


def with_model(preset: str, pipeline: str, project: Path, typed: str = "") -> tuple[str, Path]:
    """Return the command of a pipeline with the model that ships with this project, or else the newest of a preset.

    Returns:
        The command, and the file of the model.

    Raises:
        RowLeftOut: there is neither.
    """
    shipped = project / "models" / preset / MODEL_FILE
    if shipped.is_file():
        return f"kedro run --pipelines {pipeline} --params model={preset}" + (f",{typed}" if typed else ""), shipped
    model = newest_model(preset, project)
    named = f"stored_model={model.parent.name}" + (f",{typed}" if typed else "")
    return f"kedro run --env {preset} --pipelines {pipeline} --params {named}", model


def fetch_images(preset: str, project: Path, command: str) -> None:
    """Download the images of a preset where they are not on disk, for a command.

    Raises:
        RowLeftOut: they cannot be fetched.
    """
    loader = configuration(preset, project)
    raw = project / loader["catalog"]["raw_folder"]["filepath"]
    _, absent = source_of(loader.checked_parameters.image_selection).on_disk(raw)
    if absent:
        try:
            run(f"kedro run --env {preset} --pipelines ingest", project)
        except GlowPipelineError:
            raise RowLeftOut(
                f"{absent[0]} is missing; once it is there, make results ROWS={preset} runs {command}"
            ) from None
