from collections.abc import Iterator

import pytest

from glow_pipeline.outliers.scores import SCORES, Score
from tests.outliers.toy_scores import Brightness, registered


@pytest.fixture
def brightness() -> Iterator[Brightness]:
    score = Brightness()
    with registered(score):
        yield score


@pytest.fixture
def control() -> Score:
    return SCORES["complexity"]
