"""All parameters of a run, and what follows from them."""

from typing import Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from glow_pipeline.images.format import ImageFormat
from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.sources.registry import FOLDER, SOURCES
from glow_pipeline.parameters.groups import (
    IngestParameters,
    ModelParameters,
    OodParameters,
    ParameterGroup,
    SampleParameters,
    TrainParameters,
)
from glow_pipeline.parameters.ranges import SearchParameters


class Parameters(ParameterGroup):
    """All of them."""

    dataset: str = Field("digits", description="in-distribution images: trained on, and what outliers are told from")
    out_dataset: str = Field("textures", description="out-of-distribution images")
    stored_model: str | None = Field(
        None, min_length=1, description="the model to sample from or score with: a version, or a file; null: the newest"
    )
    seed: int = Field(0, ge=0, description="of every random draw")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="auto: cuda, else mps, else cpu")
    ingest: IngestParameters = IngestParameters()
    model: ModelParameters = ModelParameters()
    train: TrainParameters = TrainParameters()
    sample: SampleParameters = SampleParameters()
    ood: OodParameters = OodParameters()
    search: SearchParameters = SearchParameters()
    own: dict[str, object] = Field(
        {}, description="of your own pipelines, which take them as params:own.name; unchecked"
    )

    @field_validator("dataset", "out_dataset")
    @classmethod
    def _known_source(cls, name: str) -> str:
        if name not in SOURCES:
            raise PydanticCustomError("source", "Input should be one of those that `make sources` lists")
        return name

    @property
    def image_selection(self) -> ImageSelection:
        """The images that `dataset` stands for."""
        if self.dataset == FOLDER.name:
            return self._folder(self.ingest.path, self.ingest.eval_path, self.ingest.classes, self.ingest.name)
        return ImageSelection.of(self.dataset, self.ingest.classes)

    @property
    def out_image_selection(self) -> ImageSelection:
        """The images that `out_dataset` stands for; all those of `ood.out_path` are for testing."""
        if self.out_dataset != FOLDER.name:
            return ImageSelection.of(self.out_dataset, self.ood.out_classes)
        if self.ood.out_path is None:
            return self._folder(self.ingest.path, self.ingest.eval_path, self.ood.out_classes, self.ingest.name)
        out = self._folder(self.ood.out_path, self.ood.out_path, self.ood.out_classes)
        return out.distinct_from(self.image_selection)

    def _folder(
        self, path: str | None, eval_path: str | None, classes: list[int | str] | None, name: str | None = None
    ) -> ImageSelection:
        return ImageSelection.of_folder(path, eval_path, self.ingest.eval_percentage, self.seed, classes, name)

    @property
    def image_format(self) -> ImageFormat:
        """The images as these parameters ask for them; what is null comes from the source."""
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
        return self.model.num_classes or SOURCES[self.dataset].num_classes
