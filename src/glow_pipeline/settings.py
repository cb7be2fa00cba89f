"""Kedro's settings of this project: https://docs.kedro.org/en/stable/configure/configuration_basics/"""

import threading
import warnings
from typing import Any

from kedro.config import OmegaConfigLoader
from omegaconf import OmegaConf

from glow_pipeline.garbage import no_garbage_here

with no_garbage_here():  # torch and matplotlib come with these
    from glow_pipeline.hooks import (
        ClosingHook,
        EarlyChecksHook,
        ImagesHook,
        PerRunHooks,
        SearchingHook,
        TrackingHook,
        TrainingHook,
    )
    from glow_pipeline.parameters import parse_parameters
    from glow_pipeline.sessions import InterruptibleSession, OwnTimestamp

# Since Kedro 1.7 `--pipeline train` works but warns; many have it in their fingers.
warnings.filterwarnings("ignore", message="Option '--pipeline' is deprecated")

# They are called in the reverse of this order, but the checks say `tryfirst` where they must be first.
HOOKS = (PerRunHooks(ClosingHook, TrackingHook, SearchingHook, TrainingHook, ImagesHook, EarlyChecksHook),)

SESSION_CLASS = InterruptibleSession
SESSION_STORE_CLASS = OwnTimestamp


class ConfigLoader(OmegaConfigLoader):
    """Kedro's own, with names for catalog.yml that follow from the parameters: what a run is about is in its paths.

    `${run:in}` and `${run:out}` are names that no other images have, `${run:sample_mode}` is the kind of picture.
    A hook could not give them: Kedro-Viz reads the catalog without hooks.
    """

    def __getitem__(self, key: str) -> dict[str, Any]:
        if key == "catalog":
            parameters = parse_parameters(self["parameters"])
            run = {
                "in": parameters.image_set.key,
                "out": parameters.out_image_set.key,
                "sample_mode": parameters.sample.mode,
            }
            _THREAD.run = run
        loaded: dict[str, Any] = super().__getitem__(key)
        return loaded


# Resolvers are the whole process's, and other threads may be reading their catalogs at this moment.
_THREAD = threading.local()
OmegaConf.register_new_resolver("run", lambda name: _THREAD.run[name], replace=True)


CONFIG_LOADER_CLASS = ConfigLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    # A preset or --params that names one key of a group leaves the other keys as they are.
    "merge_strategy": {"parameters": "soft", "mlflow": "soft"},
    "config_patterns": {"mlflow": ["mlflow*", "mlflow*/**"]},
}
