"""What takes time before the first training step, counted rather than timed."""

import json
from pathlib import Path

import pytest

from tests.project import TINY_TYPED, copy_project, kedro

# Appended to the project's settings. The model is saved right after the last step, so what is not imported by then was
# not by the first.
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


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that has trained and said what was imported at which moment."""
    folder = copy_project(tmp_path_factory.mktemp("project"))
    with (folder / "src" / "glow_pipeline" / "settings.py").open("a") as settings:
        settings.write(WATCH)
    done = kedro(folder, "run", "--env", "digits", "--pipelines", "train", "--params", f"{TINY_TYPED},device=cpu")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.parametrize(
    ("moment", "there", "needless"),
    [
        ("discovered", {"torch"}, {"mlflow", "scipy"}),
        (
            "trained",
            {"torch", "mlflow"},
            {"IPython", "torch._dynamo", "sympy"},
        ),  # torch.optim would import the last two
    ],
)
def test_needless_packages_are_not_imported(project: Path, moment: str, there: set[str], needless: set[str]) -> None:
    imported = set(json.loads((project / f"{moment}.json").read_text())["modules"])
    assert there <= imported
    assert imported.isdisjoint(needless | {"medmnist", "skimage", "sklearn", "torchvision"})


def test_python_hardly_looks_for_garbage_among_what_is_imported(project: Path) -> None:
    assert json.loads((project / "trained.json").read_text())["full_collections"] <= 3  # left alone, it does ten times
