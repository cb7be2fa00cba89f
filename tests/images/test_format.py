import pytest

from glow_pipeline.images.format import ImageFormat

OLD = {"channels": 1, "height": 8, "width": 16, "n_bits": 4, "fit": "pad"}


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({}, "1x8x16_4bit_pad"),
        ({"range": (0, 4095)}, "1x8x16_4bit_pad_range0-4095"),
        ({"range": (0.0, 1.0)}, "1x8x16_4bit_pad_range0-1"),
        ({"range": (-1024, 3071)}, "1x8x16_4bit_pad_range-1024-3071"),
        ({"range": (0.25, 1e-7 + 0.25)}, "1x8x16_4bit_pad_range0.25-0.2500001"),
        ({"background": "black"}, "1x8x16_4bit_pad_on_black"),
        ({"range": (0, 4294967295), "background": "black"}, "1x8x16_4bit_pad_range0-4294967295_on_black"),
    ],
)
def test_key_names_all_that_images_depend_on(given: dict[str, object], key: str) -> None:
    assert ImageFormat.model_validate({**OLD, **given}).key == key


def test_formats_without_range_and_background_load() -> None:
    image_format = ImageFormat.model_validate(OLD)
    assert (image_format.range, image_format.background) == (None, "white")
    assert ImageFormat.model_validate_json(
        image_format.model_copy(update={"range": (0.0, 4095.0)}).model_dump_json()
    ).range == (
        0,
        4095,
    )


def test_titles_name_shape_and_bits() -> None:
    assert ImageFormat(channels=3, height=32, width=16, n_bits=8, fit="pad").size_and_bits == "3x32x16, 8 bits"
    assert ImageFormat(channels=1, height=8, width=8, n_bits=1, fit="pad").size_and_bits == "1x8x8, 1 bit"
