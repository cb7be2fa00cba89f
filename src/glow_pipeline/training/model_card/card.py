"""A model card as it is stored: a page in markdown and a picture of samples."""

import re
from dataclasses import dataclass

from glow_pipeline.training.model_card.results import TrainingResult

CARD_FILE, SAMPLES_FILE = "README.md", "samples.png"
FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n+", re.DOTALL)
PICTURE = re.compile(r"^!\[[^\]]*\]\([^)]*\)\n+", re.MULTILINE)


@dataclass(frozen=True)
class ModelCard:
    """The card of one model.

    Attributes:
        markdown: the page, with front matter as on Hugging Face.
        samples_png: the picture of samples; None where there is none, as of a model of an earlier version.
        training: the figures of the training, which are stored so that the page can be written again; None where they
            are unknown.
        version: the model's version.
    """

    markdown: str
    samples_png: bytes | None
    training: TrainingResult | None
    version: str

    @property
    def body(self) -> str:
        """The page without front matter and pictures, for places that show neither, such as MLflow's."""
        return PICTURE.sub("", FRONT_MATTER.sub("", self.markdown))
