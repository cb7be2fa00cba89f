"""A trained Glow and its detector -> a version in MLflow's registry."""

from kedro.pipeline import Node, Pipeline

from glow_pipeline.pipelines.register.nodes import register_detector


def create_pipeline() -> Pipeline:
    """Register a stored model with its detector, as `mlflow models serve` takes it; needs no images."""
    registering = Node(
        register_detector,
        ["glow_model", "glow_detector", "parameters", "params:run.provenance"],
        "registered_detector",
        name="register_detector",
    )
    return Pipeline([registering], namespace="register", prefix_datasets_with_namespace=False, tags="serving")
