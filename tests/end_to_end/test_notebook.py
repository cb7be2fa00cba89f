"""The notebooks, run from top to bottom for sets that differ in size, colours and classes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.pipelines.test_image_selections import write_images
from tests.project import ROOT, TINY, copy_project, run

FOLDER = ROOT / "notebooks"
PICTURES = {"dataset": 4, "model": 7, "outliers": 4}


def notebook_cells(name: str, project: Path, params: str | None) -> list[Any]:
    """Return the cells of a notebook, to be run in a project; `params` are those of the commands that made it."""
    given = "import os; os.environ.pop('GLOW_PARAMS', None)" if params is None else f"%env GLOW_PARAMS={params}"
    start = nbformat.v4.new_code_cell(f"%reset -f\n%cd -q {project / 'notebooks'}\n{given}")
    return [start, *nbformat.read(FOLDER / f"{name}.ipynb", as_version=4).cells]


def pictures(cells: Sequence[Any]) -> int:
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return sum("image/png" in output.get("data", {}) for output in outputs)


def folder_project(folder: Path) -> tuple[Path, str]:
    """Train, given classes, and score on small colour images; return the project and the notebooks' parameters."""
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


def execute(folder: Path, cells: Sequence[Any]) -> None:
    """Run cells in one kernel, whose imports take the most time."""
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"
    notebook = nbformat.v4.new_notebook(cells=list(cells))
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(folder)}}).execute()


def test_notebooks_run_on_digits(tmp_path: Path, digits_project: Path) -> None:
    empty = copy_project(tmp_path / "empty")
    parts = [(name, notebook_cells(name, digits_project, None)) for name in PICTURES]
    unmet = notebook_cells("outliers", empty, None)[:3]
    unmet[-1].metadata["tags"] = ["raises-exception"]
    execute(tmp_path, [*unmet, *(cell for _, part in parts for cell in part)])
    assert [(name, pictures(part)) for name, part in parts] == list(PICTURES.items())
    (line,) = [output["evalue"] for output in unmet[-1].outputs if output["output_type"] == "error"]
    assert line.startswith("dataset=digits,out_dataset=textures: no test_images, out_images, glow_model, ")
    assert "; run `kedro run --pipelines train,ood --params dataset=digits,out_dataset=textures` first" in line


@pytest.mark.slow
def test_notebooks_run_on_colour_folders(tmp_path: Path) -> None:
    project = folder_project(tmp_path)
    parts = [(name, notebook_cells(name, *project)) for name in PICTURES]
    execute(tmp_path, [cell for _, part in parts for cell in part])
    assert [(name, pictures(part)) for name, part in parts] == list(PICTURES.items())


@pytest.mark.parametrize("name", PICTURES)
def test_notebook_is_stored_without_outputs(name: str) -> None:
    cells = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert [cell.source for cell in code if cell.outputs or cell.execution_count is not None] == []
    assert cells[0].source.startswith("# ")
    assert "`make run` has run" in cells[0].source


def test_every_notebook_is_tested() -> None:
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == set(PICTURES)
