"""Image tables -> a trained Glow, its curves and its test bits per dimension."""

from kedro.pipeline import Node, Pipeline

from glow_pipeline.pipelines.train.nodes import (
    build_glow,
    evaluate_glow,
    plot_dequantization,
    plot_training,
    split_images,
    train_glow,
)


def create_pipeline() -> Pipeline:
    """Split the images, train a Glow on them and evaluate it; the registry puts the ingest before it."""
    training = Pipeline(
        [
            Node(
                plot_dequantization,
                "train_images",
                "dequantized_images",
                name="plot_dequantization",
                tags="report",
            ),
            Node(build_glow, ["train_images", "parameters"], "untrained_glow", name="build_glow"),
            Node(
                train_glow,
                [
                    "untrained_glow",
                    "fit_images",
                    "val_images",
                    "calibration_images",
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
                tags="report",
            ),
        ],
        namespace="train",
        prefix_datasets_with_namespace=False,
        tags="training",
    )
    return create_split_pipeline() + training


def create_split_pipeline() -> Pipeline:
    """Split the images into those to fit, validate on, calibrate and test with; training and searching share it."""
    return Pipeline(
        [
            Node(
                split_images,
                ["train_images", "test_images", "params:ingest", "params:seed"],
                ["fit_images", "val_images", "calibration_images", "unseen_test_images", "exact_copies"],
                name="split_images",
            )
        ],
        namespace="train",
        prefix_datasets_with_namespace=False,
        tags=["training", "search"],
    )
