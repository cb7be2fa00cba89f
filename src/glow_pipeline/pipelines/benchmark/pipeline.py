"""A trained Glow and many sets of outliers -> how well each requested score finds each set."""

from kedro.pipeline import Node, Pipeline

from glow_pipeline.pipelines.benchmark.nodes import ingest_out_sets, measure_pairs, plot_pairs, score_sets
from glow_pipeline.pipelines.ood.nodes import load_other_models


def create_pipeline() -> Pipeline:
    """Return the benchmark; the registry puts the ingest of the in-distribution test images before it."""
    return Pipeline(
        [
            Node(
                ingest_out_sets,
                [
                    "params:run.image_selection",
                    "params:run.image_format",
                    "raw_folder",
                    "params:run.models_folder",
                    "parameters",
                    "params:run.folder_looks",
                ],
                "benchmark_images",
                name="ingest_out_sets",
                tags="ingest",
            ),
            Node(
                load_other_models,
                ["glow_model", "params:run.model_folder", "params:ood"],
                "other_models",
                name="load_benchmark_models",
                tags="scoring",
            ),
            Node(
                score_sets,
                [
                    "glow_model",
                    "glow_detector",
                    "other_models",
                    "test_images",
                    "benchmark_images",
                    "params:run.raw_folder",
                    "params:run.models_folder",
                    "params:run.benchmark_scores",
                    "parameters",
                ],
                "scored_pairs",
                name="score_sets",
                tags="scoring",
            ),
            Node(
                measure_pairs,
                ["scored_pairs", "parameters"],
                ["benchmark_table", "benchmark_csv", "benchmark_metrics"],
                name="measure_pairs",
                tags="scoring",
            ),
            Node(
                plot_pairs,
                ["benchmark_table", "benchmark_metrics"],
                "benchmark_heat_map",
                name="plot_pairs",
                tags=["report", "scoring"],
            ),
        ],
        namespace="benchmark",
        prefix_datasets_with_namespace=False,
    )
