"""A trained Glow -> pictures."""

from kedro.pipeline import Node, Pipeline

from glow_pipeline.pipelines.sample.nodes import draw_endpoints, sample_images


def create_pipeline() -> Pipeline:
    """Return the sampling pipeline: it needs no image table, and most modes no image."""
    return Pipeline(
        [
            Node(
                draw_endpoints,
                ["glow_model", "image_selection", "image_format", "raw_folder", "parameters"],
                "endpoints",
                name="draw_endpoints",
            ),
            Node(
                sample_images,
                ["glow_model", "endpoints", "params:sample", "params:train", "params:seed", "params:device"],
                "samples",
                name="sample_images",
            ),
        ],
        namespace="sample",
        prefix_datasets_with_namespace=False,
        tags="sampling",
    )
