"""All outlier scores by name.

A score of the package has a line here. A user's own file adds one by `SCORES.register(MyScore())`; a line in
`settings.py` imports that file before parameters are checked (docs/extending.md).
"""

from glow_pipeline.outliers.scores.complexity import Complexity
from glow_pipeline.outliers.scores.complexity_distance import ComplexityDistance
from glow_pipeline.outliers.scores.density_of_states import DensityOfStates
from glow_pipeline.outliers.scores.density_of_statistics import DensityOfStatistics
from glow_pipeline.outliers.scores.density_sum import DensitySum, DensitySumOfFlow
from glow_pipeline.outliers.scores.fisher_combination import FisherCombination
from glow_pipeline.outliers.scores.gradient import GradientScore
from glow_pipeline.outliers.scores.gradient_input import InputGradient
from glow_pipeline.outliers.scores.input_complexity import InputComplexity
from glow_pipeline.outliers.scores.last_level import LastLevel
from glow_pipeline.outliers.scores.latent_ks import LatentKs
from glow_pipeline.outliers.scores.latent_norm import LatentNorm
from glow_pipeline.outliers.scores.likelihood_ratio import LikelihoodRatio
from glow_pipeline.outliers.scores.nll import NegativeLogLikelihood
from glow_pipeline.outliers.scores.score import Score
from glow_pipeline.outliers.scores.typicality import Typicality
from glow_pipeline.outliers.scores.waic import Waic
from glow_pipeline.registry import NAME, Registry

# Columns of the score table beside those of the scores, which therefore have other names.
UNREADABLE = "unreadable"  # why a file has no score
COLUMNS = ("source", "split", "index", "file", "label", UNREADABLE, "is_out")

RECOMMENDED = DensitySum.name  # carries the verdict unless another one is chosen
ONE_PASS = "one_pass"  # means every score that needs no more than one pass of the flow and the codecs


class ScoreRegistry(Registry[Score]):
    """Scores by name, each with a column and an axis label of its own."""

    def register(self, choice: Score) -> Score:
        """Add a score and return it.

        Raises:
            ValueError: its name, column or label is taken, or cannot be part of the name of a column or metric.
        """
        if choice.short_unit and not NAME.fullmatch(choice.short_unit):
            raise ValueError(
                f"{self.kind} {choice.name}: short_unit={choice.short_unit!r} should be small letters, digits and "
                f"underscores, and begin with a letter"
            )
        taken = next((other for other in self.values() if choice.column == other.column), None)
        if taken is not None or choice.column in COLUMNS:
            owner = "the table of scores" if taken is None else taken.name
            raise ValueError(f"{self.kind} {choice.name}: its column {choice.column} is one of {owner}; choose another")
        for other in self.values():
            if choice.label == other.label:
                raise ValueError(
                    f"{self.kind} {choice.name}: its label '{choice.label}' is that of {other.name}; "
                    f"choose another summary"
                )
        return super().register(choice)


SCORES = ScoreRegistry(
    "score",
    [
        NegativeLogLikelihood(),
        Typicality(),
        Complexity(),
        ComplexityDistance(),
        InputComplexity(),
        LastLevel(),
        LatentNorm(),
        FisherCombination(),
        DensityOfStates(),
        DensityOfStatistics(),
        DensitySum(),
        DensitySumOfFlow(),
        LatentKs(),
        GradientScore(),
        InputGradient(),
        LikelihoodRatio(),
        Waic(),
    ],
    reserved=(*COLUMNS, ONE_PASS),
)
