import pytest

from glow_pipeline.sampling import MODES, RealImages, SampleRequest
from tests.conftest import jittered_glow


def request(y_condition: bool = False, n: int = 4, y: int | None = None) -> SampleRequest:
    flow = jittered_glow(y_condition=y_condition, num_classes=3)
    none = RealImages.none((1, 8, 8))
    return SampleRequest(flow, "digits", ["cats", "dogs"], n, 0.5, y, frames=40, seed=0, real=none)


@pytest.mark.parametrize(("y_condition", "pictures"), [(False, 1), (True, 3)])
def test_estimated_pictures_are_one_a_class(y_condition: bool, pictures: int) -> None:
    assert MODES["normal"].pictures(request(y_condition)) == pictures
    assert MODES["vtemp"].pictures(request(y_condition)) == 40 + 9
