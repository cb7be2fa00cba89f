import json
import math
from pathlib import Path
from typing import Any, NoReturn

import pytest
from kedro.io import Version
from omegaconf import OmegaConf

from glow_pipeline.datasets import WholeFileDataset
from tests.project import ROOT

STRICT = "glow_pipeline.datasets.StrictJSONDataset"


def refuse(constant: str) -> NoReturn:
    raise AssertionError(f"{constant} is not JSON")


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_numbers_that_are_not_finite_become_null(tmp_path: Path, value: float) -> None:
    entry = WholeFileDataset(filepath=str(tmp_path / "m.json"), dataset={"type": STRICT}, version=Version(None, "1"))
    entry.save(
        {"a": value, "deep": [{"b": value}, (value, 1.5)], "n": 3, "word": "Infinity", "none": None, "yes": True}
    )
    text = (tmp_path / "m.json" / "1" / "m.json").read_text()
    expected = {"a": None, "deep": [{"b": None}, [None, 1.5]], "n": 3, "word": "Infinity", "none": None, "yes": True}
    assert json.loads(text, parse_constant=refuse) == expected == entry.load()


def test_every_json_file_of_the_catalog_is_strict() -> None:
    catalog: Any = OmegaConf.to_container(OmegaConf.load(ROOT / "conf/base/catalog.yml"), resolve=False)
    files = {name: entry for name, entry in catalog.items() if str(entry).find(".json") >= 0 and name[0] != "_"}
    assert {entry["dataset"]["type"] for entry in files.values()} == {STRICT}
