import inspect
import json
from pathlib import Path

import pandas as pd
from kedro.io import AbstractDataset

from glow_pipeline.datasets import CSVTableDataset
from glow_pipeline.datasets.previews import ROWS

TABLE = pd.DataFrame({"file": [f"{i}.png" for i in range(20)], "p": [None, *([0.5] * 19)]})


def entry(folder: Path) -> CSVTableDataset:
    config = {
        "type": "glow_pipeline.datasets.CSVTableDataset",
        "filepath": str(folder / "table.csv"),
        "save_args": {"index": False},
        "versioned": True,
    }
    made = AbstractDataset.from_config("table", config, None, "v1")
    assert isinstance(made, CSVTableDataset)
    return made


def test_table_is_stored_and_loaded(tmp_path: Path) -> None:
    dataset = entry(tmp_path)
    dataset.save(TABLE)
    pd.testing.assert_frame_equal(dataset.load(), TABLE)
    assert (tmp_path / "table.csv" / "v1" / "table.csv").read_text().startswith("file,p\n0.png,\n1.png,0.5\n")


def test_kedro_viz_previews_the_first_rows(tmp_path: Path) -> None:
    dataset = entry(tmp_path)
    dataset.save(TABLE)
    preview = dataset.preview()
    assert preview["columns"] == ["file", "p"]
    assert [row[0] for row in preview["data"]] == [f"{i}.png" for i in range(ROWS)]
    assert json.dumps(preview)
    assert inspect.signature(dataset.preview).return_annotation.__name__ == "TablePreview"
