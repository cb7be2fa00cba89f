"""A trained Glow and two sets of images -> how well each requested score separates them."""

from kedro.pipeline import Node, Pipeline

from glow_pipeline.pipelines.ood.figures import list_most_outlying, plot_detection, plot_ranked_images
from glow_pipeline.pipelines.ood.nodes import (
    gather_scores,
    judge_groups,
    load_other_models,
    measure_detection,
    score_images,
    select_in_images,
    select_out_images,
)

FITTED = ["glow_model", "glow_detector"]
SETS = ["in_images", "unseen_out_images"]
SETTINGS = ["params:ood", "params:train", "params:seed", "params:device"]


def create_pipeline() -> Pipeline:
    """Return scoring alone; the registry puts the ingest of both test sets before it."""
    scoring = [
        Node(
            select_in_images,
            [*FITTED, "other_models", "test_images", "parameters"],
            ["in_images", "in_facts"],
            name="select_in_images",
        ),
        Node(
            select_out_images,
            [*FITTED, "other_models", "out_images", "in_images"],
            ["unseen_out_images", "out_facts"],
            name="select_out_images",
        ),
        Node(
            load_other_models,
            ["glow_model", "params:run.model_folder", "params:ood"],
            "other_models",
            name="load_other_models",
        ),
        Node(
            score_images,
            [*FITTED, "other_models", *SETS, "params:run.ood_progress", *SETTINGS, "params:workers"],
            ["in_scores", "out_scores"],
            name="score_images",
        ),
        Node(judge_groups, [*FITTED, *SETS, *SETTINGS, "in_scores"], "group_metrics", name="judge_groups"),
        Node(gather_scores, ["in_scores", "out_scores"], "ood_scores", name="gather_scores"),
        Node(
            measure_detection,
            ["ood_scores", "in_facts", "out_facts", "params:ood", "params:seed", "params:device", "group_metrics"],
            "ood_metrics",
            name="measure_detection",
        ),
        Node(plot_ranked_images, ["ood_scores", *SETS, "params:ood"], "ood_images", name="plot_ranked_images"),
    ]
    figures = [
        Node(list_most_outlying, ["ood_scores", "params:ood"], "most_outlying", name="list_most_outlying"),
        Node(plot_detection, ["ood_scores", "ood_metrics"], ["ood_histogram", "ood_roc"], name="plot_detection"),
    ]
    return _in_namespace(scoring, ["scoring"]) + _in_namespace(figures, ["report", "scoring"])


def _in_namespace(nodes: list[Node], tags: list[str]) -> Pipeline:
    return Pipeline(nodes, namespace="ood", prefix_datasets_with_namespace=False, tags=tags)
