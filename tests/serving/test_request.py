"""Images of requests: files and arrays, and the lines that refuse others."""

import base64
import json
from typing import Any

import pytest
import torch

from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.preparation import prepare
from glow_pipeline.serving.request import MAX_IMAGES, RefusedRequestError, RequestReader
from tests.conftest import random_images
from tests.serving.helpers import png

GREY = ImageFormat(channels=1, height=8, width=8, n_bits=4, fit="resize")
COLOUR = ImageFormat(channels=3, height=8, width=8, n_bits=8, fit="pad")
READER = RequestReader(GREY, max_pixels=1000)
ZEROS: list[list[Any]] = [[0] * 8] * 8
TRUNCATED = base64.b64encode(base64.b64decode(png(random_images(1)[0]))[:60]).decode()


def changed(value: object) -> list[list[object]]:
    """Return an array of zeros but for the last value."""
    return [*ZEROS[:7], [*ZEROS[7][:7], value]]


@pytest.mark.parametrize("image_format", [GREY, COLOUR])
def test_arrays_are_read_as_files_of_their_pixels(image_format: ImageFormat) -> None:
    reader = RequestReader(image_format, 1000)
    (image,) = random_images(1, image_format.channels)
    expected = reader.read([png(image)])
    ways: list[Any] = [image.tolist(), image.permute(1, 2, 0).tolist(), image.numpy(), image.double().tolist()]
    ways += [image[0].tolist()] if len(image) == 1 else []
    assert torch.equal(reader.read([*ways, base64.b64decode(png(image))]), expected.expand(len(ways) + 1, -1, -1, -1))


def test_files_are_prepared_in_the_models_format() -> None:
    grey, colour = random_images(1, 1, (5, 12))[0], random_images(1, 3, (20, 9))[0]
    for image_format in (GREY, COLOUR):
        expected = torch.cat([prepare(image[None], image_format) for image in (grey, colour)])
        assert torch.equal(RequestReader(image_format, 1000).read([png(grey), png(colour)]), expected)


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ("no base64!", "not base64"),
        ("aGVsbG8=", "not an image"),
        ("", "empty file"),
        (TRUNCATED, "damaged"),
        (png(random_images(1, 1, (40, 40))[0]), "more than 1,000 pixels"),
        ([], "shape (0,)"),
        ([[0] * 8] * 7, "shape (7, 8)"),
        ([[[0] * 8] * 8] * 3, "shape (3, 8, 8)"),
        ([[0] * 8, [0] * 7], "rows of different lengths"),
        (changed(1.5), "values that are not whole numbers"),
        (changed(float("nan")), "values that are not finite"),
        (changed(float("inf")), "values that are not finite"),
        (changed(256), "values from 0 to 256"),
        (changed(-1), "values from -1 to 0"),
        (changed(10**30), "numbers"),
        (changed("0"), "text"),
        (changed(None), "numbers"),
        ([[True] * 8] * 8, "true and false"),
        (None, "NoneType"),
        (7, "int"),
        ({"image": ZEROS}, "dict"),
    ],
)
def test_refusals_name_position_and_what_is_expected(image: object, reason: str) -> None:
    with pytest.raises(RefusedRequestError) as refused:
        READER.read([ZEROS, image])
    line = str(refused.value)
    assert line.startswith("inputs[1]: ")
    assert reason in line
    assert line.endswith("of the shape (1, 8, 8) or (8, 8, 1) or (8, 8) with whole numbers from 0 to 255")
    assert "\n" not in line


@pytest.mark.parametrize("n", [0, MAX_IMAGES + 1])
def test_number_of_images_is_bounded(n: int) -> None:
    with pytest.raises(RefusedRequestError, match=rf"^inputs: {n} images; expected 1 to {MAX_IMAGES} in a request$"):
        READER.read([ZEROS] * n)


def test_bytes_of_a_request_are_bounded() -> None:
    reader = RequestReader(GREY, 1000, max_bytes=2**20)
    assert len(reader.read([png(random_images(1)[0])])) == 1
    with pytest.raises(RefusedRequestError, match=r"^inputs: files of 2 MiB; expected at most 1 MiB in a request$"):
        reader.read(["A" * (3 * 2**19)] * 2)


def test_answer_is_the_line_without_the_request() -> None:
    error = RefusedRequestError("inputs[0]: no image")
    error.message = f"Failed to predict data 'everything that was sent'. \nError: {error.message}"  # as the server does
    answer = json.loads(error.serialize_as_json())
    assert (answer["message"], answer["error_code"]) == ("inputs[0]: no image", "INVALID_PARAMETER_VALUE")
    assert error.get_http_status_code() == 400
