import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from glow_pipeline.sampling.decoding import Decoded, Movement
from glow_pipeline.sampling.pictures import forward_and_back, shown, steps_and_columns, warning
from tests.conftest import jittered_glow


@given(st.integers(2, 12))
def test_forward_and_back_has_each_turning_point_once(n: int) -> None:
    steps = [torch.tensor(i) for i in range(n)]
    order = [int(step) for step in forward_and_back(steps)]
    assert order == [*range(n), *range(n - 2, 0, -1)]
    # Played in a loop, each picture is the neighbour of the next.
    assert all(abs(a - b) == 1 for a, b in zip(order, [*order[1:], order[0]], strict=True))


def test_forward_and_back_leaves_its_argument() -> None:
    steps = [torch.tensor(i) for i in range(3)]
    forward_and_back(steps)
    assert len(steps) == 3


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


def test_still_picture_has_evenly_spaced_steps() -> None:
    lengths: list[int] = []

    def moving(frames: int) -> Movement:
        lengths.append(frames)
        return Movement([0.0] * frames, [])

    steps, columns = steps_and_columns(moving, 5, 9)
    assert steps is columns
    steps, columns = steps_and_columns(moving, 40, 9)
    assert (len(steps.steps), len(columns.steps)) == (40, 9)
    assert lengths == [5, 40, 9]
