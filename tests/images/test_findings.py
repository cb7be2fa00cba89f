import pytest

from glow_pipeline.images.findings import Findings
from glow_pipeline.images.format import GreyRange, ImageFormat


def image_format(grey_range: GreyRange | None = None) -> ImageFormat:
    return ImageFormat(channels=1, height=8, width=8, n_bits=8, fit="resize", range=grey_range)


def test_findings_add_up() -> None:
    total = Findings()
    total.add(Findings(transparent=1, paged=2, further_pages=9))
    total.add(Findings(deep=1, deep_values=10, clipped=3, lowest=5, highest=7))
    total.add(Findings(deep=2, deep_values=20, clipped=1, lowest=-1, highest=6.5))
    assert total == Findings(
        transparent=1, paged=2, further_pages=9, deep=3, deep_values=30, clipped=4, lowest=-1, highest=7
    )


def test_reinterpretations_are_noted_with_counts() -> None:
    assert list(Findings().notes(image_format())) == []
    assert list(Findings(transparent=1, paged=1, further_pages=3).notes(image_format())) == [
        "1 image with transparent pixels, shown on white (ingest.background)",
        "1 file has further pages or frames, 3 in all, which are not used",
    ]
    black = image_format().model_copy(update={"background": "black"})
    assert list(Findings(transparent=1200, paged=3, further_pages=1041).notes(black)) == [
        "1,200 images with transparent pixels, shown on black (ingest.background)",
        "3 files have further pages or frames, 1,041 in all, which are not used",
    ]


@pytest.mark.parametrize(
    ("lowest", "highest", "clipped", "expected"),
    [
        (0, 4095, 0, []),
        (0, 1023.8, 0, []),
        (3, 5000, 1, []),
        (3, 5000, 2, ["3 to 5000; 0.2% are outside the range 0-4095 and were clipped"]),
        (0, 1000, 0, ["0 to 1000, which use 24% of the range 0-4095"]),
        (4000, 4095, 0, ["4000 to 4095, which use 2% of the range 0-4095"]),
        (5000, 60000, 1000, ["100.0% are outside", "which use 0% of the range"]),
    ],
)
def test_unsuitable_range_gives_a_warning(lowest: float, highest: float, clipped: int, expected: list[str]) -> None:
    found = Findings(deep=1, deep_values=1000, clipped=clipped, lowest=lowest, highest=highest)
    warnings = list(found.warnings(image_format((0, 4095))))
    assert len(warnings) == len(expected)
    for warning, part in zip(warnings, expected, strict=True):
        assert part in warning


def test_images_of_8_bits_are_not_warned_of() -> None:
    assert list(Findings(transparent=3).warnings(image_format((0, 4095)))) == []
    assert list(Findings(transparent=3).warnings(image_format())) == []
