"""Kedro's settings of this project: https://docs.kedro.org/en/stable/configure/configuration_basics/"""

import warnings

from glow_pipeline.hooks import ClosingHook, EarlyChecksHook, ImageSpecHook, TrackingHook

# Since Kedro 1.7 `--pipeline train` works but warns; many have it in their fingers.
warnings.filterwarnings("ignore", message="Option '--pipeline' is deprecated")

# Kedro calls hooks in the reverse of this order, but the checks say `tryfirst` where they must be first.
HOOKS = (ClosingHook(), TrackingHook(), ImageSpecHook(), EarlyChecksHook())

CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    # A preset or --params that names one key of a group leaves the other keys as they are.
    "merge_strategy": {"parameters": "soft", "globals": "soft", "mlflow": "soft"},
    "config_patterns": {"mlflow": ["mlflow*", "mlflow*/**"]},
}
