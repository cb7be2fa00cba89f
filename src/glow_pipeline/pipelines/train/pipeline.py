"""Image tables -> a trained Glow, its curves and its test bits per dimension."""

from kedro.pipeline import Node, Pipeline

from glow_pipeline.pipelines.train.nodes import (
    build_glow,
    dequantize,
    evaluate_glow,
    plot_training,
    split_images,
    train_glow,
)


def create_split_pipeline() -> Pipeline:
    """Return the split into images to fit, to validate on and to test with, which searching needs as well."""
    return Pipeline(
        [
            Node(
                split_images,
                ["train_images", "test_images", "params:ingest", "params:seed"],
                ["fit_images", "val_images", "unseen_test_images", "exact_copies"],
                name="split_images",
            )
        ],
        namespace="train",
        prefix_datasets_with_namespace=False,
    )


def create_pipeline() -> Pipeline:
    """Training alone; the registry puts the ingest before it."""
    training = Pipeline(
        [
            Node(dequantize, "train_images", ["dequantization", "dequantized_images"], name="dequantize"),
            Node(build_glow, ["dequantization", "train_images", "parameters"], "untrained_glow", name="build_glow"),
            Node(
                train_glow,
                [
                    "untrained_glow",
                    "fit_images",
                    "val_images",
                    "unseen_test_images",
                    "parameters",
                    "training",
                    "provenance",
                ],
                ["glow_model", "train_history"],
                name="train_glow",
            ),
            Node(
                evaluate_glow,
                [
                    "glow_model",
                    "unseen_test_images",
                    "exact_copies",
                    "train_history",
                    "params:train",
                    "params:seed",
                    "params:device",
                ],
                "train_metrics",
                name="evaluate_glow",
            ),
            Node(
                plot_training,
                ["train_history", "image_selection", "params:model"],
                "training_curves",
                name="plot_training",
            ),
        ],
        namespace="train",
        prefix_datasets_with_namespace=False,
    )
    return create_split_pipeline() + training
