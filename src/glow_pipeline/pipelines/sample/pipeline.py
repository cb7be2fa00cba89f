"""A trained Glow -> pictures."""

from kedro.pipeline import Node, Pipeline

from glow_pipeline.pipelines.sample.nodes import read_real_images, sample_images


def create_pipeline() -> Pipeline:
    """Return the sampling pipeline: it needs no image table, and most modes no image."""
    return Pipeline(
        [
            Node(
                read_real_images,
                [
                    "glow_model",
                    "params:run.image_selection",
                    "params:run.image_format",
                    "raw_folder",
                    "parameters",
                    "params:run.folder_looks",
                ],
                "real_images",
                name="read_real_images",
            ),
            Node(
                sample_images,
                ["glow_model", "real_images", "params:sample", "params:train", "params:seed", "params:device"],
                "samples",
                name="sample_images",
            ),
        ],
        namespace="sample",
        prefix_datasets_with_namespace=False,
        tags="sampling",
    )
