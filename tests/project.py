"""A copy of the project in a temporary folder, to run the real configuration without touching the real data."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir, contextmanager, suppress
from functools import cache
from pathlib import Path
from random import SystemRandom
from tempfile import TemporaryDirectory
from typing import Any, cast

from kedro.framework.project import pipelines, settings
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from glow_pipeline.tracking.new_database import make_database

ROOT = Path(__file__).parents[1]
# Seconds instead of minutes; everything else is as users have it.
TINY: dict[str, Any] = {"model": {"K": 2, "L": 2, "hidden_channels": 8}, "train": {"n_epochs": 1, "warmup": 0.0}}
TINY_TYPED = "model.K=2,model.L=2,model.hidden_channels=8,train.n_epochs=1,train.warmup=0"
TINY_COMMAND = ("run", "--env", "digits", "--params", f"{TINY_TYPED},train.threads=1")

TRAINING_FIGURES = [
    "bits_by_level",
    "dequantized_images",
    "latent_histograms",
    "likelihood_extremes",
    "samples_by_epoch",
    "training_curves",
]

# Appended to the settings of a project: writes which modules are imported before a run and after its training.
# The model is saved right after the last training step, so a module that is absent then was not imported by the first.
WATCH = """
import gc
import json
import sys
from pathlib import Path
from kedro.framework.hooks import hook_impl


class Watch:
    @hook_impl(tryfirst=True)
    def before_pipeline_run(self):
        self.write("discovered")

    @hook_impl
    def before_dataset_saved(self, dataset_name):
        if dataset_name == "glow_model":
            self.write("trained")

    def write(self, moment):
        found = {"modules": list(sys.modules), "full_collections": gc.get_stats()[-1]["collections"]}
        Path(f"{moment}.json").write_text(json.dumps(found))


HOOKS = (*HOOKS, Watch())
"""


# Many tests score outliers on the way to what they test: one score and few resamples take a tenth of the time.
QUICK_OOD = {
    "scores: [one_pass]": "scores: [nll]",
    "score: density_sum": "score: nll",
    "bootstrap: 1000": "bootstrap: 20",
}


@cache
def new_mlflow_database() -> bytes:
    """MLflow's database before the first run, made once a process: MLflow takes most of a second for its tables."""
    with TemporaryDirectory() as folder:
        make_database(Path(folder) / "mlflow.db")
        return (Path(folder) / "mlflow.db").read_bytes()


def copy_project(folder: Path, quick_ood: bool = True, mlflow_used: bool = True) -> Path:
    """Copy what a fresh clone has, without the data, the tests and the environment.

    With `quick_ood` its own configuration asks for one outlier score, `nll`. With `mlflow_used` it has a database of
    MLflow without runs, so that no run has to make one.
    """
    for name in ("conf", "src", "notebooks"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", ".telemetry"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "data").mkdir()
    if mlflow_used:
        (folder / "mlflow.db").write_bytes(new_mlflow_database())
    if quick_ood:
        make_ood_quick(folder)
    return folder


def make_ood_quick(project: Path) -> None:
    """Change the defaults in `conf/base/parameters_ood.yml` of a copy as `QUICK_OOD` says."""
    path = project / "conf" / "base" / "parameters_ood.yml"
    text = path.read_text()
    for users, quick in QUICK_OOD.items():
        before, found, after = text.partition(f"\n  {users} ")
        assert found, f"{path.name}: {users}"
        text = f"{before}\n  {quick} {after}"
    path.write_text(text)


def kedro(project: Path, *arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Run the real command in a process of its own; its imports take seconds."""
    environment = {**os.environ, "COLUMNS": "80"}
    environment.pop("KEDRO_LOGGING_CONFIG", None)
    return subprocess.run(
        [sys.executable, "-m", "kedro", *arguments],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )


def bootstrap() -> None:
    """Do what `bootstrap_project` does, for copies of the project too, with the settings read once a process.

    A copy's settings are those of the package, and dynaconf takes half a second to find them from deep in pytest.
    """
    _bootstrap_once()
    pipelines.configure("glow_pipeline.pipeline_registry")  # registers them anew


@cache
def _bootstrap_once() -> None:
    bootstrap_project(ROOT)


def kedro_run(project: Path, *arguments: str) -> None:
    """Run `kedro run <arguments>` in this process: read, checked and run as when typed, without seconds of imports.

    Raises:
        click.ClickException: the command is refused; its message is the line that a user sees.
    """
    from glow_pipeline.cli import run as command

    bootstrap()
    with chdir(project):
        command.main(list(arguments), prog_name="kedro run", standalone_mode=False)


@contextmanager
def session(project: Path, env: str | None = None, **runtime_params: Any) -> Iterator[KedroSession]:
    """Create a Kedro session in this process, with the configuration, hooks and catalog that users have."""
    bootstrap()
    with (
        chdir(project),
        settings.SESSION_CLASS.create(project, env=env, runtime_params=runtime_params) as created,
    ):
        yield cast(KedroSession, created)


def run(project: Path, pipeline: str, env: str | None = None, **runtime_params: Any) -> None:
    """Run one pipeline in this process, with parameters as Python values."""
    with session(project, env, **runtime_params) as created:
        created.run(pipeline_names=[pipeline])


def environment_of_make() -> dict[str, str]:
    """Return the environment without what `make test` leaves in it, by which another make would be a part of that."""
    return {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}


def free_port() -> int:
    """Return a port that a server can take some seconds later: none of those that systems give to whoever asks."""
    for port in SystemRandom().sample(range(10_000, 32_000), 100):
        with socket.socket() as tried, suppress(OSError):
            tried.bind(("127.0.0.1", port))
            return port
    raise OSError("no port is free")


def versions(project: Path, pattern: str) -> list[Path]:
    """Return the complete artifacts below data/ that match, oldest first."""
    return sorted(path for path in (project / "data").glob(pattern) if not path.name.startswith("."))


def files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
