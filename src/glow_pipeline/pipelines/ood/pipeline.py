"""A trained Glow and two sets of images -> how well each requested score separates them."""

from kedro.pipeline import Node, Pipeline

from glow_pipeline.pipelines.ood.nodes import (
    gather_scores,
    measure_detection,
    plot_detection,
    score_images,
    select_in_images,
    select_out_images,
)

SETTINGS = ["params:ood", "params:train", "params:seed", "params:device"]


def create_pipeline() -> Pipeline:
    """Return scoring alone; the registry puts the ingest of both test sets before it."""
    return Pipeline(
        [
            Node(
                select_in_images,
                ["glow_model", "test_images", "parameters"],
                ["in_images", "in_facts"],
                name="select_in_images",
            ),
            Node(
                select_out_images,
                ["glow_model", "out_images", "in_images"],
                ["unseen_out_images", "out_facts"],
                name="select_out_images",
            ),
            Node(score_images, ["glow_model", "in_images", *SETTINGS], "in_scores", name="score_in_images"),
            Node(score_images, ["glow_model", "unseen_out_images", *SETTINGS], "out_scores", name="score_out_images"),
            Node(gather_scores, ["in_scores", "out_scores"], "ood_scores", name="gather_scores"),
            Node(
                measure_detection,
                ["ood_scores", "in_facts", "out_facts", "params:ood", "params:device"],
                "ood_metrics",
                name="measure_detection",
            ),
            Node(
                plot_detection,
                ["ood_scores", "ood_metrics"],
                ["ood_histogram", "ood_roc"],
                name="plot_detection",
                tags="report",
            ),
        ],
        namespace="ood",
        prefix_datasets_with_namespace=False,
        tags="scoring",
    )
