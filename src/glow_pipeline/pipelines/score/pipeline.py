"""A trained Glow, its detector and a person's own images -> a verdict on each image."""

from kedro.pipeline import Node, Pipeline

from glow_pipeline.pipelines.score.nodes import (
    add_to_history,
    explain_files,
    judge_files,
    list_images,
    score_files,
    write_report,
)

FITTED = ["glow_model", "glow_detector"]


def create_pipeline() -> Pipeline:
    """Return the scoring of files: it needs no image that the model or its detector was made with."""
    return Pipeline(
        [
            Node(list_images, "params:score", "listed_files", name="list_images"),
            Node(
                score_files,
                [*FITTED, "listed_files", "params:run.image_format", "params:run.score_progress", "parameters"],
                ["file_scores", "score_facts"],
                name="score_files",
            ),
            Node(
                judge_files,
                [*FITTED, "file_scores", "score_facts", "parameters"],
                ["scored_files", "scored_files_csv", "score_worth"],
                name="judge_files",
            ),
            Node(
                add_to_history,
                [
                    *FITTED,
                    "file_scores",
                    "score_worth",
                    "params:run.score_batches",
                    "params:run.provenance",
                    "parameters",
                ],
                ["score_history", "score_history_plot"],
                name="add_to_history",
            ),
            Node(
                explain_files,
                [*FITTED, "file_scores", "scored_files", "score_facts", "parameters"],
                ["shown_images", "score_heat_maps"],
                name="explain_files",
            ),
            Node(
                write_report,
                [
                    *FITTED,
                    "scored_files",
                    "score_facts",
                    "score_worth",
                    "shown_images",
                    "parameters",
                    "params:run.provenance",
                ],
                ["score_report", "score_contact_sheet"],
                name="write_report",
            ),
        ],
        namespace="score",
        prefix_datasets_with_namespace=False,
        tags="scoring",
    )
