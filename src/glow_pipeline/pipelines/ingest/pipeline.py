"""Source files -> image tables."""

from kedro.pipeline import Node, Pipeline

from glow_pipeline.pipelines.ingest.nodes import ingest_test, ingest_train


def _boxed(nodes: list[Node]) -> Pipeline:
    """One box in kedro viz, without renaming any dataset or parameter."""
    return Pipeline(nodes, namespace="ingest", prefix_datasets_with_namespace=False)


def create_pipeline() -> Pipeline:
    """Training and test images of `dataset`."""
    return (
        _boxed(
            [Node(ingest_train, ["params:dataset", "image_spec", "raw_folder"], "train_images", name="ingest_train")]
        )
        + create_test_pipeline()
    )


def create_test_pipeline() -> Pipeline:
    """Test images of `dataset`."""
    return _boxed(
        [Node(ingest_test, ["params:dataset", "image_spec", "raw_folder"], "test_images", name="ingest_test")]
    )


def create_out_pipeline() -> Pipeline:
    """Test images of `out_dataset`."""
    return _boxed(
        [Node(ingest_test, ["params:out_dataset", "image_spec", "raw_folder"], "out_images", name="ingest_out")]
    )
