import numpy as np
import pytest

from tests.verdict.report.reports import report, shown, table


@pytest.mark.parametrize(("explained", "a_row", "width"), [(True, 2, 144 + 6 + 144), (False, 4, 144)])
def test_images_stand_beside_their_heat_maps(explained: bool, a_row: int, width: int) -> None:
    figure = report(table([1.99, *([0.5] * 8)]), shown(range(9), explained)).contact_sheet()
    title, *headings = (text.get_text() for text in figure.texts)
    assert title == "The most suspicious of 9 images: scans"
    assert headings[0] == f"1 to {a_row}"
    assert headings[-1] == "9"
    assert len(figure.axes) == 9
    assert figure.axes[0].texts[0].get_text() == "1. a0.png\np 0.0050, outlier\nBrighter than 0."
    pixels = np.asarray(figure.axes[2].images[0].get_array())
    assert pixels.shape == (144, width, 3)
    assert (pixels[:, :144] == 34).all()  # level 2 of 0 to 15


def test_list_without_a_readable_image_has_a_sheet() -> None:
    sheet = report(table([], [("/b.png", "damaged")])).contact_sheet()
    (text,) = sheet.axes[0].texts
    assert text.get_text() == "The most suspicious of 0 images: scans: no image"
    sheet.draw_without_rendering()
    assert text.get_window_extent().x1 <= sheet.bbox.x1
