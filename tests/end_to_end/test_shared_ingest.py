"""Three commands that make one image table together, one of which is killed and typed again."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from glow_pipeline.files import stored_versions
from glow_pipeline.images.table import ImageTable
from tests import project

N_IMAGES, OF_PART, SIDE = 360, 30, 400


def write_pictures(folder: Path) -> None:
    """Write pictures that take so long to decode that a command can be killed while it does."""
    random = np.random.default_rng(0)
    for index in range(N_IMAGES):
        file = folder / ("cats" if index % 3 else "dogs") / f"{index:04}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(file, compress_level=1)


def typed(folder: Path, pictures: Path, *more: str) -> list[str]:
    params = [f"ingest.path={pictures}", f"ingest.eval_path={pictures.parent / 'tests'}", "ingest.num_workers=0", *more]
    return [
        sys.executable,
        "-m",
        "kedro",
        "run",
        "--pipelines",
        "ingest",
        "--params",
        f"dataset=folder,{','.join(params)}",
    ]


def start(folder: Path, command: list[str], index: int) -> subprocess.Popen[str]:
    environment = {**os.environ, "NODE_RANK": str(index)}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def table_in(folder: Path) -> ImageTable:
    (tables,) = (folder / "data" / "03_primary").glob("*/*/train")
    assert [file.name for file in tables.iterdir() if file.name.startswith((".parts", ".made"))] == []
    return ImageTable(stored_versions(tables)[0])


@pytest.mark.slow
def test_killed_command_of_three_is_typed_again(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    write_pictures(pictures)
    (tmp_path / "tests").mkdir()
    (pictures / "dogs" / "0000.png").rename(tmp_path / "tests" / "0000.png")

    alone = project.copy_project(tmp_path / "alone")
    finished = subprocess.run(typed(alone, pictures), cwd=alone, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr

    shared = project.copy_project(tmp_path / "shared")
    command = typed(shared, pictures, "workers.engine=array", "workers.of=3", f"workers.part_images={OF_PART}")
    commands = [start(shared, command, index) for index in range(3)]
    while not list((shared / "data").glob("03_primary/*/*/train/.parts-*/00001.json")):
        assert commands[1].poll() is None
        time.sleep(0.01)
    commands[1].kill()
    printed = [each.communicate()[0] for each in commands]
    assert [each.returncode for each in commands] == [0, -9, 0], printed
    assert all("This machine has helped: its share (parts " in printed[index] for index in (0, 2))

    again = start(shared, command, 1)
    said = again.communicate()[0]
    assert again.returncode == 0, said
    assert " of 12 parts are stored already" in said
    one, many = table_in(alone), table_in(shared)
    assert len(one) == len(many) == N_IMAGES - 1
    assert torch.equal(one[:][0], many[:][0])
    assert torch.equal(one.labels, many.labels)
    assert np.array_equal(one.content_hashes, many.content_hashes)
    assert list(one.names or ()) == list(many.names or ())
    assert one.record == many.record.model_copy(update={"image_selection": one.record.image_selection})
