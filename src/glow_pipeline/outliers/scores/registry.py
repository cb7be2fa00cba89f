"""All outlier scores by name.

A score of the package has a line here. A user's own file adds one by `SCORES.register(MyScore())`; a line in
`settings.py` imports that file before parameters are checked (docs/extending.md).
"""

from glow_pipeline.outliers.scores.nll import NegativeLogLikelihood
from glow_pipeline.outliers.scores.score import Score
from glow_pipeline.registry import Registry

# Columns of the score table beside those of the scores, which therefore have other names.
COLUMNS = ("source", "split", "index", "file", "label", "unreadable", "is_out")

SCORES: Registry[Score] = Registry(
    "score",
    [
        NegativeLogLikelihood(),
    ],
    reserved=COLUMNS,
)
