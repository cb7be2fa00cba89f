"""Source files -> image tables."""

from kedro.pipeline import Node, Pipeline

from glow_pipeline.pipelines.ingest.nodes import ingest_test, ingest_train

SETTINGS = ["image_format", "raw_folder", "params:ingest"]


def _boxed(nodes: list[Node]) -> Pipeline:
    """One box in kedro viz, without renaming any dataset or parameter."""
    return Pipeline(nodes, namespace="ingest", prefix_datasets_with_namespace=False)


def create_pipeline() -> Pipeline:
    """Training and test images of `dataset`."""
    train = Node(ingest_train, ["image_selection", *SETTINGS], "train_images", name="ingest_train")
    return _boxed([train]) + create_test_pipeline()


def create_test_pipeline() -> Pipeline:
    """Test images of `dataset`."""
    return _boxed([Node(ingest_test, ["image_selection", *SETTINGS], "test_images", name="ingest_test")])


def create_out_pipeline() -> Pipeline:
    """Test images of `out_dataset`."""
    return _boxed([Node(ingest_test, ["out_image_selection", *SETTINGS], "out_images", name="ingest_out")])
