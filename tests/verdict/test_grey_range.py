"""The range of grey values of listed files of more than 8 bits."""

from pathlib import Path

import numpy as np
from PIL import Image

from glow_pipeline.verdict.grey_range import with_grey_range
from glow_pipeline.verdict.listing import list_files
from tests.conftest import model_record
from tests.images.pictures import deep_noise, deep_png


def test_files_without_common_range_do_not_end_run(tmp_path: Path) -> None:
    (tmp_path / "whole.png").write_bytes(deep_png(deep_noise(8, 8, 1)))
    Image.fromarray(np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)).save(tmp_path / "fractions.tif")
    image_format = model_record().image_format
    found, (warning,) = with_grey_range(image_format, list_files(str(tmp_path)), 1000, 0)
    assert found == image_format
    assert "1 of 2 images of more than 8 bits have fractions" in warning
    (tmp_path / "fractions.tif").unlink()
    assert with_grey_range(image_format, list_files(str(tmp_path)), 1000, 0)[0].range == (0, 65535)
