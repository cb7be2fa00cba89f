import pytest
from torch import Tensor

from glow_pipeline.density import ModelledBatch
from glow_pipeline.outliers.scores import SCORES, Score


def score(name_: str, summary_: str = "a score of a test", short_unit_: str = "") -> Score:
    class Named(Score):
        name = name_
        summary = summary_
        short_unit = short_unit_
        paper = "none"

        def score(self, batch: ModelledBatch) -> Tensor:
            return batch.log_prob

    return Named()


@pytest.mark.parametrize(
    ("refused", "line"),
    [
        (score("nll_bits_per_dim"), "score nll_bits_per_dim: its column nll_bits_per_dim is one of nll"),
        (score("is", short_unit_="out"), "score is: its column is_out is one of the table of scores"),
        (score("is_out"), "score is_out: its column is_out is one of the table of scores"),
        (score("level", short_unit_="bits/dim"), "score level: short_unit='bits/dim' should be small letters"),
        (score("nll"), "score nll: the name is taken"),
    ],
    ids=["column", "column_of_the_table", "name_of_a_column", "unit", "name"],
)
def test_scores_that_would_collide_are_refused(refused: Score, line: str) -> None:
    before = list(SCORES)
    with pytest.raises(ValueError, match=f"^{line}"):
        SCORES.register(refused)
    assert list(SCORES) == before


def test_scores_with_one_label_are_refused() -> None:
    SCORES.register(score("first"))
    try:
        with pytest.raises(ValueError, match=r"^score second: its label 'a score of a test' is that of first"):
            SCORES.register(score("second"))
    finally:
        SCORES.remove("first")
