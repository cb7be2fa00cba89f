"""Source files -> image tables."""

from kedro.pipeline import Node, Pipeline

from glow_pipeline.pipelines.ingest.nodes import ingest_test, ingest_train

SETTINGS = ["params:run.image_format", "raw_folder", "params:ingest", "params:run.folder_looks"]


def create_pipeline() -> Pipeline:
    """Ingest the training and test images of `dataset`."""
    train = Node(ingest_train, ["params:run.image_selection", *SETTINGS], "train_images", name="ingest_train_images")
    return _in_namespace([train]) + create_test_pipeline()


def create_test_pipeline() -> Pipeline:
    """Ingest the test images of `dataset`."""
    return _in_namespace(
        [Node(ingest_test, ["params:run.image_selection", *SETTINGS], "test_images", name="ingest_test_images")]
    )


def create_out_pipeline() -> Pipeline:
    """Ingest the test images of `out_dataset`."""
    return _in_namespace(
        [Node(ingest_test, ["params:run.out_image_selection", *SETTINGS], "out_images", name="ingest_out_images")]
    )


def _in_namespace(nodes: list[Node]) -> Pipeline:
    """Group the nodes in one box of Kedro-Viz, without renaming any dataset or parameter."""
    return Pipeline(nodes, namespace="ingest", prefix_datasets_with_namespace=False, tags="ingest")
