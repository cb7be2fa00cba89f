"""Images of a run that MLflow shows among its charts and beside those of other runs, with a slider over their steps."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient

FOLDER = "images"  # of the run's artifacts; MLflow's
WIDEST = 1200  # pixels: the chart's copy of a figure, whose file is stored beside it in full


def log_chart_image(client: "MlflowClient", run_id: str, file: Path, key: str, step: int) -> None:
    """Log a picture as the image of this key at this step, at most `WIDEST` pixels wide and high."""
    from PIL import Image

    with Image.open(file) as image:
        image.thumbnail((WIDEST, WIDEST))
        client.log_image(run_id, image, key=key, step=step, synchronous=True)


def has_image(client: "MlflowClient", run_id: str, key: str, step: int) -> bool:
    """Return whether the run has the image of this key at this step, in both sizes that MLflow stores."""
    start = f"{FOLDER}/{key.replace('/', '~')}+step+{step}+"
    found = [file.path for file in client.list_artifacts(run_id, FOLDER) if file.path.startswith(start)]
    return len(found) > 1


def mark_images(client: "MlflowClient", run_id: str) -> None:
    """Tag the run as one that has images, without which none is shown; the last thing that logging an image does."""
    from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_IMAGES

    client.set_tag(run_id, MLFLOW_LOGGED_IMAGES, "True")
