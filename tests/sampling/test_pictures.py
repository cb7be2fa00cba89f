from itertools import pairwise

import pytest
import torch

from glow_pipeline.sampling import interpolate, vtemp
from glow_pipeline.sampling.decoding import Decoded, Movement
from glow_pipeline.sampling.mode import SampleRequest
from glow_pipeline.sampling.pictures import even_steps, shown, steps_and_columns, titled, warning
from glow_pipeline.sampling.real_images import RealImages
from glow_pipeline.sampling.vtemp import HIGHEST_TEMPERATURE
from tests.conftest import jittered_glow


def test_broken_images_are_crossed_out_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    flow = jittered_glow()
    broken = torch.tensor([False, True, False])
    decoded = Decoded(torch.zeros(3, 1, 8, 8, dtype=torch.uint8), broken)
    images = shown(flow, decoded)
    assert images.shape == (3, 3, 8, 8)
    assert images.flatten(1).any(dim=1).tolist() == broken.tolist()
    assert (
        warning(broken, ", the first from T 1.50 on") == " (1 of 3 not finite, the first from T 1.50 on; crossed out)"
    )
    assert "Samples: 1 of 3 not finite" in caplog.text
    assert warning(torch.tensor([False])) == ""


@pytest.mark.parametrize("last", [1, 2])
def test_steps_are_even_with_both_ends(last: float) -> None:
    for n in range(2, 201):
        steps = even_steps(last, n)
        assert (len(steps), steps[0], steps[-1]) == (n, 0, last)
        assert all(b - a == pytest.approx(last / (n - 1)) for a, b in pairwise(steps))


@pytest.mark.parametrize(("last", "columns"), [(HIGHEST_TEMPERATURE, vtemp.COLUMNS), (1, interpolate.COLUMNS)])
def test_columns_are_exact_at_two_decimals(last: float, columns: int) -> None:
    steps = even_steps(last, columns)
    assert [float(f"{step:.2f}") for step in steps] == pytest.approx(steps, abs=1e-12)
    assert last / 2 in steps
    assert len({f"{step:.2f}" for step in steps}) == columns


def test_still_picture_has_steps_of_its_own() -> None:
    for frames in range(2, 201):
        steps, columns = steps_and_columns(lambda steps: Movement(steps, []), last=2, frames=frames, columns=9)
        assert steps.steps == even_steps(2, frames)
        assert columns.steps == [quarter / 4 for quarter in range(9)]


def test_title_names_dataset_size_bits_and_temperature() -> None:
    request = SampleRequest(
        jittered_glow(), "digits", [], 4, 0.7, None, frames=40, seed=0, real=RealImages.none((1, 8, 8))
    )
    assert titled(request, "samples", 0.7) == "Glow on digits (1x8x8, 4 bits): samples, temperature 0.7"
    assert titled(request, "real images") == "Glow on digits (1x8x8, 4 bits): real images"
