"""Kedro's settings of this project: https://docs.kedro.org/en/stable/configure/configuration_basics/"""

import warnings

from glow_pipeline.startup import without_gc

with without_gc():  # torch and matplotlib come with these
    from glow_pipeline.config_loader import ConfigLoader
    from glow_pipeline.hooks import PerRunHooks, RunHook
    from glow_pipeline.session_store import InterruptibleSession, UniqueSessionStore

# Since Kedro 1.7 `--pipeline train` works but warns; many users type it out of habit.
warnings.filterwarnings("ignore", message="Option '--pipeline' is deprecated")

HOOKS = (PerRunHooks(RunHook),)

SESSION_CLASS = InterruptibleSession
SESSION_STORE_CLASS = UniqueSessionStore

CONFIG_LOADER_CLASS = ConfigLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    # A preset or --params that names one key of a group leaves the other keys as they are.
    "merge_strategy": {"parameters": "soft", "mlflow": "soft"},
    "config_patterns": {"mlflow": ["mlflow*", "mlflow*/**"]},
}
