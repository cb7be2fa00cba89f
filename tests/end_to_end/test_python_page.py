"""The blocks of Python in docs/python.md run, from top to bottom."""

import re
from contextlib import chdir
from pathlib import Path
from typing import Any

from PIL import Image

from tests.project import ROOT


def test_blocks_of_the_python_page_run(digits_project: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "python.md").read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 6
    names: dict[str, Any] = {}
    with chdir(digits_project):
        for block in blocks:
            exec(compile(block, "docs/python.md", "exec"), names)  # a block goes on with the names of those before
    assert names["samples"].array.shape == (16, 8, 8)
    assert len(names["table"]) == 16
    with Image.open(digits_project / "sample.png") as sample:
        assert sample.size == (128, 128)
    assert names["program"](names["images"], names["noise"]).shape == (5,)
