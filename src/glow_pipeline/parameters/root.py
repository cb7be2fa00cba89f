"""All parameters of a run, and the images and classes that they stand for."""

from typing import Annotated, Literal

from pydantic import Field

from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.selection import OWN, ImageSelection
from glow_pipeline.images.sources.registry import FOLDER, SOURCES
from glow_pipeline.parameters.benchmark import BenchmarkParameters
from glow_pipeline.parameters.calibrate import CalibrateParameters
from glow_pipeline.parameters.group import Changeable, OneOf, ParameterGroup
from glow_pipeline.parameters.ingest import IngestParameters
from glow_pipeline.parameters.model import ModelParameters
from glow_pipeline.parameters.ood import OodParameters
from glow_pipeline.parameters.sample import SampleParameters
from glow_pipeline.parameters.score import ScoreParameters
from glow_pipeline.parameters.search import SearchParameters
from glow_pipeline.parameters.train import TrainParameters
from glow_pipeline.parameters.workers import WorkersParameters

MUTATED = "mutated"  # folder of the models that train.mutation made, within that of the other models

Dataset = Annotated[str, OneOf(SOURCES, "one of those that `make sources` lists")]


class Parameters(ParameterGroup):
    """All parameters of a run."""

    dataset: Dataset = Field("digits", description="in-distribution images, which the model is trained on")
    out_dataset: Changeable[Dataset] = Field("textures", description="out-of-distribution images")
    stored_model: Changeable[str | None] = Field(
        None,
        min_length=1,
        description="model to sample from or score with, as a version or a file; null: the dataset's newest",
    )
    seed: int = Field(0, ge=0, description="seed of every random draw")
    device: Changeable[Literal["auto", "cpu", "cuda", "mps"]] = Field(
        "auto", description="where to compute; auto: cuda, else mps, else cpu"
    )
    ingest: IngestParameters = IngestParameters()
    model: ModelParameters = ModelParameters()
    train: TrainParameters = TrainParameters()
    sample: Changeable[SampleParameters] = SampleParameters()
    ood: Changeable[OodParameters] = OodParameters()
    benchmark: Changeable[BenchmarkParameters] = BenchmarkParameters()
    calibrate: Changeable[CalibrateParameters] = CalibrateParameters()
    score: Changeable[ScoreParameters] = ScoreParameters()
    search: Changeable[SearchParameters] = SearchParameters()
    workers: Changeable[WorkersParameters] = WorkersParameters()
    own: Changeable[dict[str, object]] = Field(
        {}, description="parameters of your own pipelines, read as params:own.name; not checked"
    )

    @property
    def image_selection(self) -> ImageSelection:
        """The images of `dataset`."""
        if self.dataset in OWN:
            return self._folder(
                self.ingest.path, self.ingest.eval_path, self.ingest.classes, self.ingest.name, self.dataset
            )
        return ImageSelection.of(self.dataset, self.ingest.classes)

    @property
    def out_image_selection(self) -> ImageSelection:
        """The images of `out_dataset`; all images in `ood.out_path` are test images."""
        if self.out_dataset not in OWN:
            return ImageSelection.of(self.out_dataset, self.ood.out_classes)
        if self.ood.out_path is None:
            return self._folder(
                self.ingest.path, self.ingest.eval_path, self.ood.out_classes, self.ingest.name, self.out_dataset
            )
        out = self._folder(self.ood.out_path, self.ood.out_path, self.ood.out_classes, source=self.out_dataset)
        return out.distinct_from(self.image_selection)

    @property
    def chosen_model(self) -> tuple[str, str] | None:
        """The parameter that names a stored model, and its value; None: the newest is used."""
        if self.stored_model is not None:
            return "stored_model", self.stored_model
        return None if self.score.model is None else ("score.model", self.score.model)

    @property
    def verdict_scores(self) -> list[str]:
        """The scores of a person's own images, the one that carries the verdict first."""
        return list(dict.fromkeys([self.ood.score_names[0], *self.score.scores]))

    @property
    def model_key(self) -> str:
        """The folder of the model's artifacts: `digits`, or `digits/mutated` for one that `train.mutation` makes.

        No dataset has a name with a slash in it.
        """
        key = self.image_selection.key
        return f"{key}/{MUTATED}" if self.train.mutation else key

    @property
    def calibrate_image_selection(self) -> ImageSelection:
        """The images of `calibrate.path`, or those of `dataset`, whose training images have the parts to use."""
        if self.calibrate.path is None:
            return self.image_selection
        images = self._folder(self.calibrate.path, self.calibrate.path, None)
        return images.distinct_from(self.image_selection)

    def _folder(
        self,
        path: str | None,
        eval_path: str | None,
        classes: list[int | str] | None,
        name: str | None = None,
        source: str = FOLDER.name,
    ) -> ImageSelection:
        return ImageSelection.of_folder(path, eval_path, self.ingest.eval_percentage, self.seed, classes, name, source)

    @property
    def image_format(self) -> ImageFormat:
        """The prepared images' shape and depth, and how they are prepared; null takes the source's."""
        source, size = SOURCES[self.dataset], self.ingest.size
        height, width = (
            source.default_size if size is None else (size, size) if isinstance(size, int) else (size[0], size[-1])
        )
        return ImageFormat(
            channels=self.ingest.channels or source.channels,
            height=height,
            width=width,
            n_bits=self.model.n_bits or source.n_bits,
            fit=self.ingest.fit,
            range=None if self.ingest.range is None else (self.ingest.range[0], self.ingest.range[1]),
            background=self.ingest.background,
        )

    @property
    def num_classes(self) -> int:
        """The number of classes; null takes the source's."""
        return self.model.num_classes or SOURCES[self.dataset].num_classes
