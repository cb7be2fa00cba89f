"""A trained Glow -> pictures."""

from kedro.pipeline import Node, Pipeline

from glow_pipeline.pipelines.sample.nodes import sample_images


def create_pipeline() -> Pipeline:
    """Sampling alone; the registry puts the ingest of the test images before it."""
    return Pipeline(
        [
            Node(
                sample_images,
                ["glow_model", "test_images", "params:sample", "params:seed", "params:device"],
                "samples",
            )
        ],
        namespace="sample",
        prefix_datasets_with_namespace=False,
    )
