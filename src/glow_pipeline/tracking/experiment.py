"""The experiment's own page: its kind, by which MLflow's UI opens, its description and its main metric."""

from typing import TYPE_CHECKING

from glow_pipeline.tracking.failures import mlflow_may_fail
from glow_pipeline.tracking.metric_names import VALIDATION_BITS

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

NOTE = "mlflow.note.content"
DESCRIPTION = (
    "Runs of glow_pipeline: the normalizing flow Glow trained on images, its samples, and outliers found with it. "
    "Each run's description says what was done on what, how good it is, and which command repeats it."
)
# Set where they are absent. The kind opens the experiment with runs, charts and models instead of evaluations of GenAI.
EXPERIMENT_TAGS = {
    "mlflow.experimentKind": "custom_model_development",
    "mlflow.experiment.primaryMetric.name": VALIDATION_BITS,
    "mlflow.experiment.primaryMetric.greaterIsBetter": "False",
    NOTE: DESCRIPTION,
}


def describe_experiment(client: "MlflowClient", experiment: "Experiment") -> None:
    """Set those of the experiment's tags that it does not have; what a person has set stays as it is."""
    missing = {key: value for key, value in EXPERIMENT_TAGS.items() if key not in experiment.tags}
    with mlflow_may_fail("what kind of experiment this is"):
        for key, value in missing.items():
            client.set_experiment_tag(experiment.experiment_id, key, value)
