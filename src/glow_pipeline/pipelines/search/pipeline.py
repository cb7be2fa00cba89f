"""Image tables -> the trials of a search, and the parameters of the best."""

from kedro.pipeline import Node, Pipeline

from glow_pipeline.pipelines.search.nodes import plot_search, run_search, write_best
from glow_pipeline.pipelines.train.pipeline import create_split_pipeline


def create_pipeline() -> Pipeline:
    """The search alone, with the split that training makes; the registry puts the ingest before it."""
    searching = Pipeline(
        [
            Node(
                run_search,
                ["search_study", "fit_images", "val_images", "parameters", "provenance", "checkpoints"],
                "search_results",
                name="run_search",
            ),
            Node(plot_search, ["search_results", "image_selection"], "search_history", name="plot_search"),
            Node(write_best, ["search_study", "search_results", "parameters"], "best_parameters", name="write_best"),
        ],
        namespace="search",
        prefix_datasets_with_namespace=False,
    )
    return create_split_pipeline() + searching
