"""What a model must not be used for, and what is known to be wrong with it, in sentences."""

from collections.abc import Iterator

from glow_pipeline.images.format import format_range
from glow_pipeline.training.model_card.markdown import Markdown, code
from glow_pipeline.training.model_card.results import TrainingResult
from glow_pipeline.training.records import ModelRecord

FEW_IMAGES = 5000


def limits_of(record: ModelRecord, training: TrainingResult | None) -> list[Markdown]:
    """Return the limits of a model as markdown, those of this one first."""
    return [Markdown(sentence) for sentence in (*_own(record, training), *_general(record))]


def _own(record: ModelRecord, training: TrainingResult | None) -> Iterator[str]:
    if record.diverged:
        yield (
            f"Its training diverged after epoch {record.best_epoch}: this is the last good state, not the end of the "
            f"planned training."
        )
    if record.parameters.get("train", {}).get("mutation"):
        yield (
            "It was trained on mutated images, as the background model of a likelihood ratio. Its samples and its "
            "bits/dim are not those of the dataset."
        )
    fitted = record.parts.fit.count if record.parts else None
    if fitted is not None and fitted < FEW_IMAGES:
        yield (
            f"It was trained on {fitted:,} images. With so few, bits/dim of the test images depend on the seed, and "
            f"samples may resemble training images."
        )
    if training is not None and training.test_bits_per_dim is None:
        yield "The flow overflows on at least one test image: the bits/dim of the test images are not finite."
    if training is not None and (copies := training.copies.get("test_copies_of_train", 0)):
        left_out = record.train_table.image_selection.is_folder
        done = "were left out of the test" if left_out else "stay in the published test set"
        yield f"{copies:,} test images are exact copies of training images; they {done}."
    if training is not None and training.samples is not None and training.samples.not_finite:
        yield (
            f"{training.samples.not_finite} of {training.samples.n} samples are not finite: the inverse overflows on "
            f"them."
        )
    if record.image_format.range is not None:
        yield (
            f"Pixel values from {format_range(record.image_format.range)} were scaled to 0-255, and values outside "
            f"were clipped. Images of another device or unit, which use the range differently, are outliers to it."
        )
    if record.flow.get("y_condition"):
        yield (
            "It is conditioned on the class. Bits/dim given the class and without it are two figures; scores of "
            "outliers use no class."
        )


def _general(record: ModelRecord) -> Iterator[str]:
    yield (
        "The likelihood does not say whether an image belongs: flows find simpler images more probable than their own "
        "training images (Nalisnick et al. 2019, https://arxiv.org/abs/1810.09136). Use the detector's scores, and "
        "compare each with `complexity`, which needs no model."
    )
    yield (
        "Figures hold for images prepared in the same way and taken under the same conditions as the training images. "
        "Any change of camera, scanner, compression or size may look like an outlier."
    )
    yield (
        "It is not a medical device, and no basis for a decision about a person. Outliers are suspicious images, "
        "which a person has to look at."
    )
    source = record.train_table.image_selection.source
    yield (
        f"Samples may reproduce what is in the training images ({code(source)}), persons and protected works included. "
        f"The licence of the images applies."
    )
