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

SPLIT = ["fit_images", "val_images", "calibration_images", "unseen_test_images"]
MEASURED = ["measured_images", "unseen_test_images"]
SETTINGS = ["params:train", "params:seed", "params:device"]


def create_pipeline() -> Pipeline:
    """Split the images, train a Glow on them and evaluate it; the registry puts the ingest before it."""
    training = [
        Node(build_glow, ["train_images", "parameters"], "untrained_glow", name="build_glow"),
        Node(
            train_glow,
            ["untrained_glow", *SPLIT, "parameters", "params:run.training", "params:run.provenance"],
            ["glow_model", "train_history", "epoch_samples"],
            name="train_glow",
        ),
        Node(
            evaluate_glow,
            ["glow_model", "unseen_test_images", "exact_copies", "train_history", *SETTINGS],
            ["train_metrics", "measured_images"],
            name="evaluate_glow",
        ),
        Node(
            write_model_card,
            ["glow_model", "train_metrics", "params:sample", *SETTINGS],
            "model_card",
            name="write_model_card",
        ),
    ]
    figures = [
        Node(plot_dequantization, "train_images", "dequantized_images", name="plot_dequantization"),
        Node(
            plot_training,
            ["train_history", "train_images", "params:model", "params:train"],
            "training_curves",
            name="plot_training",
        ),
        Node(
            plot_samples_by_epoch,
            ["epoch_samples", "train_history", "train_images", "params:sample"],
            "samples_by_epoch",
            name="plot_samples_by_epoch",
        ),
        Node(plot_bits_by_level, MEASURED, "bits_by_level", name="plot_bits_by_level"),
        Node(plot_likelihood_extremes, MEASURED, "likelihood_extremes", name="plot_likelihood_extremes"),
        Node(plot_latents, MEASURED, "latent_histograms", name="plot_latents"),
    ]
    both = _in_namespace(training, ["training"]) + _in_namespace(figures, ["training", "report"])
    return create_split_pipeline() + both


def create_split_pipeline() -> Pipeline:
    """Split the images into those to fit, validate on, calibrate and test with; training and searching share it."""
    split = Node(
        split_images,
        ["train_images", "test_images", "params:ingest", "params:seed"],
        [*SPLIT, "exact_copies"],
        name="split_images",
    )
    return _in_namespace([split], ["training", "search"])


def _in_namespace(nodes: list[Node], tags: list[str]) -> Pipeline:
    return Pipeline(nodes, namespace="train", prefix_datasets_with_namespace=False, tags=tags)
