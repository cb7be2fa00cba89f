"""The outlier figures of a run on the card of its model."""

from typing import Any, cast

from kedro.io import DataCatalog

from glow_pipeline.datasets.glow_model import GlowModelDataset
from glow_pipeline.parameters import Parameters
from glow_pipeline.provenance import Provenance
from glow_pipeline.training.model_card import ModelCard
from glow_pipeline.training.model_card.card import CARD_FILE
from glow_pipeline.training.model_card.folder import add_detection
from glow_pipeline.training.model_card.results import benchmark_result, ood_result

MEASURED = ("ood_metrics", "benchmark_table")


def record_on_card(
    name: str, data: Any, catalog: DataCatalog, parameters: Parameters, provenance: Provenance
) -> ModelCard | None:
    """Add a saved dataset to the card of the run's model, if it has figures for one.

    Args:
        name, data: of the saved dataset.
        catalog, parameters, provenance: of the run.

    Returns:
        The new card; None where the dataset has no such figures or no card could be written.
    """
    if name not in MEASURED:
        return None
    model = cast(GlowModelDataset, catalog["glow_model"])
    if name == "ood_metrics":
        result = ood_result(data, provenance)
    else:
        record = model.record()
        version = record.provenance.kedro_session
        main = parameters.ood.score_names[0]
        result = benchmark_result(data, main, record.dataset, str(version), provenance)
    with model.editing_folder(CARD_FILE) as folder:
        return add_detection(folder / model.load_path.name, result)
