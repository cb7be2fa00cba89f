import csv
from pathlib import Path

import numpy as np
from PIL import Image

from glow_pipeline.verdict import columns
from glow_pipeline.verdict.heat_map_files import INDEX, HeatMapFiles
from glow_pipeline.verdict.report.pictures import heat_map_of
from tests.verdict.report.reports import shown, table


def test_heat_maps_are_beside_their_images_and_listed(tmp_path: Path) -> None:
    scored = table([1.99, *([0.5] * 10)])
    scored.loc[0, columns.FILE] = '/scans/a, "1"/<b>.png'
    HeatMapFiles(scored, lambda: shown([0, 10]), 2, n_bits=4).write(tmp_path / "maps")
    with (tmp_path / "maps" / INDEX).open(encoding="utf-8", newline="") as index:
        listed = list(csv.DictReader(index))
    assert [row["rank"] for row in listed] == ["1", "11"]
    assert [row["file"] for row in listed] == ['/scans/a, "1"/<b>.png', "/scans/a10.png"]
    assert [float(row["p_value"]) for row in listed] == scored[columns.P_VALUE].iloc[[0, 10]].tolist()
    names = [row["heat_map"] for row in listed]
    assert [name[:5] for name in names] == ["01_b_", "11_a1"]
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == sorted([*names, INDEX])
    pixels = np.asarray(Image.open(tmp_path / "maps" / names[1]))
    assert pixels.shape == (144, 144 + 6 + 144, 3)
    image = np.full((1, 8, 8), 170, dtype=np.uint8)  # level 10 of 0 to 15
    assert (pixels[:, :144] == 170).all()
    expected = heat_map_of(image, shown([10])[0].explanation)  # type: ignore[arg-type]
    assert np.array_equal(pixels[::18, 150::18], expected.transpose(1, 2, 0))


def test_files_of_one_name_keep_own_heat_maps(tmp_path: Path) -> None:
    scored = table([1.99, 0.5])
    scored[columns.FILE] = ["/a/x.png", "/b/x.png"]
    HeatMapFiles(scored, lambda: shown([0, 1]), 2, n_bits=4).write(tmp_path / "maps")
    assert len(list((tmp_path / "maps").glob("*.png"))) == 2


def test_images_are_drawn_one_after_the_other(tmp_path: Path) -> None:
    """Memory does not grow with their number."""
    folder = tmp_path / "maps"
    done = []

    def images():  # type: ignore[no-untyped-def]
        for row in range(3):
            done.append(len(list(folder.glob("*.png"))))
            yield from shown([row])

    HeatMapFiles(table([1.0] * 3), images, 3, n_bits=4).write(folder)
    assert done == [0, 1, 2]


def test_none_leaves_an_empty_list(tmp_path: Path) -> None:
    HeatMapFiles(table([1.0]), list, 0, n_bits=4).write(tmp_path / "maps")
    assert [path.name for path in (tmp_path / "maps").iterdir()] == [INDEX]
