"""The ood nodes that can run alone, on scores and metrics of an earlier command."""

import numpy as np
import pandas as pd
import pytest

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.parameters import OodParameters
from glow_pipeline.pipelines.ood.nodes import measure_detection, plot_detection

SCORES = pd.DataFrame(
    {"source": ["digits"] * 2 + ["textures"] * 2, "is_out": [False] * 2 + [True] * 2, "unreadable": None}
)


def test_figures_of_unregistered_score_are_refused() -> None:
    with pytest.raises(GlowPipelineError, match=r"^ood_metrics: its score gone is not registered"):
        plot_detection(SCORES.assign(gone=np.arange(4.0)), {"auroc": 0.5, "main_score": "gone"})


def test_metrics_of_scores_not_stored_are_refused() -> None:
    line = r"^ood\.scores=nll: the stored ood_scores have no nll_bits_per_dim; let score_in_images"
    with pytest.raises(GlowPipelineError, match=line):
        measure_detection(SCORES, {}, {}, OodParameters(), "cpu")
    with pytest.raises(GlowPipelineError, match=line):
        plot_detection(SCORES, {"auroc": 0.5, "main_score": "nll"})
