"""Checks of the models beside the scored one, before anything is scored."""

import logging
from pathlib import Path
from typing import cast

from kedro.io import DataCatalog

from glow_pipeline.datasets.glow_model import GlowModelDataset
from glow_pipeline.hooks.stored_model import train_command
from glow_pipeline.parameters import Parameters
from glow_pipeline.training.other_models import check_other_models, find_other_models

logger = logging.getLogger(__name__)


def check_models_of_scores(
    catalog: DataCatalog, parameters: Parameters, env: str | None, model_is_stored: bool
) -> None:
    """Check that the requested scores have the other models that they need; log which scores `all` leaves out.

    Args:
        catalog: the catalog.
        parameters: all parameters of the command.
        env: the environment of the command, None for the default.
        model_is_stored: whether the scored model is a stored one, and not made by this command.

    Raises:
        GlowPipelineError: one is not named, does not exist, or is of images of another shape.
    """
    training = train_command(parameters.image_selection, env)
    paths = find_other_models(cast(Path, catalog.load("model_folder")), parameters.ood, training)
    if model_is_stored:
        check_other_models(paths, cast(GlowModelDataset, catalog["glow_model"]).record())
    if left_out := parameters.ood.left_out:
        listed = ", ".join(f"{name} (set {parameter})" for name, parameter in left_out.items())
        logger.info("ood.scores=all leaves out what needs other models: %s", listed)
