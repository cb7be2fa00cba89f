"""The search pipeline: from image tables to the trials of a search and the best parameters."""

from kedro.pipeline import Node, Pipeline

from glow_pipeline.pipelines.search.nodes import plot_search, run_search, write_best
from glow_pipeline.pipelines.train.pipeline import create_split_pipeline


def create_pipeline() -> Pipeline:
    """Return the search without the ingest, with the split of the images that training makes."""
    searching = Pipeline(
        [
            Node(
                run_search,
                [
                    "params:run.search_study",
                    "fit_images",
                    "val_images",
                    "parameters",
                    "params:run.provenance",
                    "params:run.checkpoints",
                ],
                ["search_results", "search_results_csv"],
                name="run_search",
            ),
            Node(
                plot_search,
                ["search_results", "params:run.image_selection"],
                "search_history",
                name="plot_search",
                tags="report",
            ),
            Node(
                write_best,
                ["params:run.search_study", "search_results", "parameters"],
                "best_parameters",
                name="write_best_parameters",
                tags="report",
            ),
        ],
        namespace="search",
        prefix_datasets_with_namespace=False,
        tags="search",
    )
    return create_split_pipeline() + searching
