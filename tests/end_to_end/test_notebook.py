"""The notebook, run from top to bottom for sets that differ in size, colours and classes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from tests.pipelines.test_image_selections import write_images
from tests.project import ROOT, TINY, copy_project, run

RELOAD = "# %reload_kedro --params dataset=fashionmnist,out_dataset=mnist"
PICTURES = 7


def notebook_cells(project: Path, params: str | None) -> list[Any]:
    """Return the notebook's cells, to be run in a project; `params` follow `%reload_kedro --params`."""
    notebook = nbformat.read(ROOT / "notebooks" / "look_at_a_model.ipynb", as_version=4)
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    assert RELOAD in first.source
    if params is not None:
        first.source = first.source.replace(RELOAD, f"%reload_kedro --params {params}")
    folder = nbformat.v4.new_code_cell(f"%reset -f\n%cd -q {project / 'notebooks'}")
    return [folder, *notebook.cells]


def pictures(cells: Sequence[Any]) -> int:
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return sum("image/png" in output.get("data", {}) for output in outputs)


def folder_project(folder: Path) -> tuple[Path, str]:
    """Train, given classes, and score on small colour images; return the project and the notebook's parameters."""
    project = copy_project(folder / "project")
    for k, name in enumerate("abc"):
        if name != "c":  # a class of the test images alone
            write_images(folder / "in" / name, 10, 60 * k, seed=k)
        write_images(folder / "test" / name, 4, 60 * k, seed=10 + k)
    write_images(folder / "out", 5, 190, seed=9)
    given: dict[str, Any] = {
        "dataset": "folder",
        "ingest": {
            "path": str(folder / "in"),
            "eval_path": str(folder / "test"),
            "size": [8, 16],
            "calibration_percentage": 30.0,  # of so few images 5% would be none
        },
        "out_dataset": "folder",
        "ood": {"out_path": str(folder / "out")},
        "model": {**TINY["model"], "y_condition": True},
        "train": {**TINY["train"], "batch_size": 8, "n_epochs": 4, "lr": 0.01},
    }
    run(project, "__default__", **given)
    params = f"dataset=folder,ingest.path={folder}/in,ingest.eval_path={folder}/test"
    return project, f"{params},out_dataset=folder,ood.out_path={folder}/out"


def test_notebook_runs_on_digits_and_colour_folders(tmp_path: Path, digits_project: Path) -> None:
    """One kernel, which is emptied in between, runs both: its imports take the most time."""
    folder = tmp_path / "colours"
    folder.mkdir()
    parts = [notebook_cells(digits_project, None), notebook_cells(*folder_project(folder))]
    cells = [cell for part in parts for cell in part]
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert [pictures(part) for part in parts] == [PICTURES] * 2
