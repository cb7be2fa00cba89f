"""The table of the pipeline `score`, and that of `load_detector(...).score`."""

from pathlib import Path

import pandas as pd
from PIL import Image

from glow_pipeline import load_detector
from tests.conftest import random_images
from tests.project import run, versions


def test_python_gives_the_table_of_the_pipeline(digits_project: Path, tmp_path: Path) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    for i, image in enumerate(random_images(70, size=(9, 8))):  # more than a batch
        Image.fromarray(image[0].numpy()).save(folder / f"{i}.png")
    (folder / "none.png").write_text("no image")
    run(digits_project, "score", "digits", score={"images": str(folder)})
    (stored,) = versions(digits_project, "07_model_output/digits/score_scans/scored_files.parquet/*/*")
    detector = load_detector(digits_project / "data" / "06_models" / "digits", scores=["nll"], device="cpu")
    pd.testing.assert_frame_equal(detector.score(folder), pd.read_parquet(stored), rtol=1e-6)
