"""A trained Glow and images that belong -> its detector."""

from kedro.pipeline import Node, Pipeline

from glow_pipeline.pipelines.calibrate.nodes import (
    calibrate_detector,
    fit_detector,
    ingest_calibrate_images,
    select_parts,
)

FITTED_WITH = ["glow_model", "val_images", "parameters", "params:run.provenance"]


def create_pipeline() -> Pipeline:
    """Ingest the images of a stored model's training or of `calibrate.path`, and make a detector with them."""
    selection = [
        Node(
            ingest_calibrate_images,
            [
                "params:run.calibrate_selection",
                "params:run.image_format",
                "raw_folder",
                "params:ingest",
                "params:calibrate",
                "params:run.folder_looks",
            ],
            "calibrate_images",
            name="ingest_calibrate_images",
            tags="ingest",
        ),
        Node(
            select_parts,
            ["glow_model", "calibrate_images", "params:calibrate", "params:seed"],
            ["val_images", "calibration_images", "copies_left_out"],
            name="select_parts",
        ),
    ]
    return _in_namespace([*selection, *_nodes([*FITTED_WITH, "copies_left_out"])])


def create_detector_pipeline() -> Pipeline:
    """Make the detector of a model that has just been trained; the registry puts the training before it."""
    return _in_namespace(_nodes(FITTED_WITH))


def _nodes(fitted_with: list[str]) -> list[Node]:
    fitting = Node(fit_detector, fitted_with, "fitted_detector", name="fit_detector", tags="training")
    calibrating = Node(
        calibrate_detector,
        ["glow_model", "fitted_detector", "calibration_images", "parameters"],
        "glow_detector",
        name="calibrate_detector",
        tags="training",
    )
    return [fitting, calibrating]


def _in_namespace(nodes: list[Node]) -> Pipeline:
    return Pipeline(nodes, namespace="calibrate", prefix_datasets_with_namespace=False, tags="calibration")
