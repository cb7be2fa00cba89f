"""The notebook, run from top to bottom for sets that differ in size, colours and classes."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.pipelines.test_image_selections import write_images
from tests.project import ROOT, TINY, copy_project, run

RELOAD = "# %reload_kedro --params dataset=fashionmnist,out_dataset=mnist"


def pictures_of_notebook(project: Path, typed: str | None) -> int:
    """Run the notebook and return how many pictures are in it; `typed` stands after `%reload_kedro --params`."""
    notebook = nbformat.read(ROOT / "notebooks" / "look_at_a_model.ipynb", as_version=4)
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    assert RELOAD in first.source
    if typed is not None:
        first.source = first.source.replace(RELOAD, f"%reload_kedro --params {typed}")
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(project / "notebooks")}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return sum("image/png" in output.get("data", {}) for output in outputs)


def test_notebook_runs_on_digits(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    run(project, "__default__", **TINY)
    assert pictures_of_notebook(project, None) == 6


@pytest.mark.parametrize("y_condition", [False, True])
def test_notebook_runs_on_a_small_colour_folder(tmp_path: Path, y_condition: bool) -> None:
    project = copy_project(tmp_path)
    for k, name in enumerate("abc"):
        if name != "c":
            write_images(tmp_path / "in" / name, 10, 60 * k, seed=k)
        write_images(tmp_path / "test" / name, 4, 60 * k, seed=10 + k)
    write_images(tmp_path / "out", 5, 190, seed=9)
    given: dict[str, Any] = {
        "dataset": "folder",
        "ingest": {"path": str(tmp_path / "in"), "eval_path": str(tmp_path / "test"), "size": [8, 16]},
        "out_dataset": "folder",
        "ood": {"out_path": str(tmp_path / "out")},
    }
    model = {**TINY["model"], "y_condition": y_condition}
    run(
        project,
        "__default__",
        **given,
        model=model,
        train={**TINY["train"], "batch_size": 8, "n_epochs": 4, "lr": 0.01},
    )
    typed = (
        f"dataset=folder,ingest.path={tmp_path}/in,ingest.eval_path={tmp_path}/test,"
        f"out_dataset=folder,ood.out_path={tmp_path}/out"
    )
    assert pictures_of_notebook(project, typed) == 6
