import pytest
import torch
from torch import Tensor

from glow_pipeline.density import ModelledBatch
from glow_pipeline.images.batches import Batches
from glow_pipeline.outliers.scores import SCORES, Score
from glow_pipeline.outliers.scores.registry import RECOMMENDED
from glow_pipeline.outliers.scoring import fit_scores, score_table
from tests.conftest import MakeTable, jittered_glow, random_images
from tests.project import ROOT


def score(name_: str, summary_: str = "a score of a test", short_unit_: str = "") -> Score:
    class Named(Score):
        name = name_
        summary = summary_
        short_unit = short_unit_
        paper = "none"

        def describe(self, batch: ModelledBatch) -> Tensor:
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


def test_scores_of_user_file_are_fitted_and_stored(make_table: MakeTable) -> None:
    """The file of docs/extending.md, run as it stands there."""
    text = (ROOT / "docs" / "extending.md").read_text().partition("## An outlier score\n")[2].partition("\n## ")[0]
    before = set(SCORES)
    try:
        exec(text.partition("```python\n")[2].partition("```")[0], {"__name__": "my_score"})
        scores = [SCORES[name] for name in SCORES if name not in before]
        batches = Batches(make_table(random_images(5), 4), 2, torch.device("cpu"))
        got = score_table(jittered_glow(), batches, fit_scores(jittered_glow(), batches, scores, 0), 0)
    finally:
        for name in set(SCORES) - before:
            SCORES.remove(name)
    assert list(got) == ["brightness", "brightness_distance"]
    assert got["brightness_distance"] == pytest.approx(abs(got["brightness"] - got["brightness"].mean()))


def test_recommended_score_is_registered() -> None:
    assert RECOMMENDED in SCORES
    assert SCORES[RECOMMENDED].cost == "one pass"
