"""Image tables -> a trained Glow, its curves and its test bits per dimension."""

from kedro.pipeline import Node, Pipeline

from glow_pipeline.pipelines.train.figures import (
    plot_bits_by_level,
    plot_dequantization,
    plot_latents,
    plot_likelihood_extremes,
    plot_samples_by_epoch,
    plot_training,
)
from glow_pipeline.pipelines.train.model_card import write_model_card
from glow_pipeline.pipelines.train.nodes import build_glow, evaluate_glow, split_images, train_glow


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
                    "params:run.training",
                    "params:run.provenance",
                ],
                ["glow_model", "train_history", "epoch_samples"],
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
                ["train_metrics", "measured_images"],
                name="evaluate_glow",
            ),
            Node(
                plot_training,
                ["train_history", "train_images", "params:model", "params:train"],
                "training_curves",
                name="plot_training",
                tags="report",
            ),
            Node(
                plot_samples_by_epoch,
                ["epoch_samples", "train_history", "train_images", "params:sample"],
                "samples_by_epoch",
                name="plot_samples_by_epoch",
                tags="report",
            ),
            Node(
                plot_bits_by_level,
                ["measured_images", "unseen_test_images"],
                "bits_by_level",
                name="plot_bits_by_level",
                tags="report",
            ),
            Node(
                plot_likelihood_extremes,
                ["measured_images", "unseen_test_images"],
                "likelihood_extremes",
                name="plot_likelihood_extremes",
                tags="report",
            ),
            Node(
                plot_latents,
                ["measured_images", "unseen_test_images"],
                "latent_histograms",
                name="plot_latents",
                tags="report",
            ),
            Node(
                write_model_card,
                ["glow_model", "train_metrics", "params:sample", "params:train", "params:seed", "params:device"],
                "model_card",
                name="write_model_card",
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
