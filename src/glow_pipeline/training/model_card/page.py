"""The page of a model card, from the model's record and the figures of commands."""

import shlex
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files

import yaml
from jinja2 import Environment, StrictUndefined, Template

from glow_pipeline.images.as_typed import images_as_typed
from glow_pipeline.images.classes import NAMED_AT_MOST
from glow_pipeline.images.sources.registry import SOURCES
from glow_pipeline.outliers.metric_names import CONTROL
from glow_pipeline.training.model_card.card import SAMPLES_FILE
from glow_pipeline.training.model_card.limits import limits_of
from glow_pipeline.training.model_card.markdown import Markdown, code, escaped, fenced
from glow_pipeline.training.model_card.results import COPIES, DetectionResult, TrainingResult
from glow_pipeline.training.model_file import MODEL_FILE
from glow_pipeline.training.records import ModelRecord

TEMPLATE = "model_card.md.jinja"
MADE_BY = (
    "<!-- Written by glow_pipeline, and written again after `ood` and `benchmark`. Delete this line to keep edits. -->"
)
FILES_NAMED, ROWS_SHOWN = 8, 60
COPY_NAMES = {
    "train_copies": "training images that repeat another one",
    "val_copies_of_fit": "validation images that are also trained on",
    "calibration_copies_of_train": "calibration images that are also trained on or validated on",
    "test_copies_of_train": "test images that are training images",
}
UNKNOWN = "not recorded"
PYTHON = f"""from glow_pipeline import load_detector, load_model

model = load_model("{MODEL_FILE}")
model.sample(16)  # new images
model.bits_per_dim(["my_images/one.png"])

detector = load_detector("{MODEL_FILE}")
detector.score("my_images", false_alarm_rate=0.01)  # a table: which files do not belong
"""


def page_of(
    record: ModelRecord,
    weights_sha256: str,
    training: TrainingResult | None,
    detections: Sequence[DetectionResult] = (),
    *,
    file_sha256: str | None,
    has_samples: bool,
) -> str:
    """Return the page in markdown. Equal arguments have equal pages.

    Args:
        record: of the model.
        weights_sha256: digest of its weights.
        training: figures of its training; None: unknown.
        detections: figures of later commands, in any order.
        file_sha256: digest of its file, as `sha256sum` prints it; None: unknown.
        has_samples: whether there is a picture of samples beside the page.
    """
    newest_first = sorted(detections, key=lambda result: result.session, reverse=True)
    shown = [(result, row) for result in newest_first for row in result.rows]
    image_format, provenance = record.image_format, record.provenance
    typed = _images_typed(record)
    tested = f"{typed},ingest.eval_path=my_test_images" if record.train_table.image_selection.is_folder else typed
    version = provenance.kedro_session or "unknown"
    return _template().render(
        front_matter=Markdown(yaml.safe_dump(_front_matter(record), sort_keys=False, allow_unicode=True)),
        made_by=Markdown(MADE_BY),
        record=record,
        image_format=image_format,
        size=f"{image_format.height}x{image_format.width}",
        version=version,
        colour="grey" if image_format.channels == 1 else "RGB",
        mutated=bool(record.parameters.get("train", {}).get("mutation")),
        data=_data_facts(record, training),
        source_files=_source_files(record),
        copies=_copies(training),
        model_parameters=_flat(record.parameters.get("model", {})),
        train_parameters=_flat(record.parameters.get("train", {})),
        seed=record.parameters.get("seed", UNKNOWN),
        training=training,
        samples=training.samples if training is not None and has_samples else None,
        samples_file=SAMPLES_FILE,
        detections=shown[:ROWS_SHOWN],
        kinds=any(row.kind for _, row in shown[:ROWS_SHOWN]),
        n_left_out=max(0, len(shown) - ROWS_SHOWN),
        control=CONTROL,
        limits=limits_of(record, training),
        sample_command=fenced(f"kedro run --pipelines sample --params {typed},stored_model={version}"),
        ood_command=fenced(
            f"kedro run --pipelines ood --params {tested},stored_model={version},out_dataset={_another(record)}"
        ),
        score_command=fenced(
            f"kedro run --pipelines score --params {typed},stored_model={version},score.images=my_images"
        ),
        model_file=MODEL_FILE,
        python=fenced(PYTHON, "python"),
        file_sha256=UNKNOWN if file_sha256 is None else code(file_sha256),
        weights_sha256=weights_sha256,
        provenance=provenance,
        command=fenced(provenance.command) if provenance.command else None,
        versions=", ".join(f"{name} {number}" for name, number in provenance.versions.items()),
    )


def _front_matter(record: ModelRecord) -> dict[str, object]:
    """Return the metadata that Hugging Face reads. The licence is that of the images, which binds the model too."""
    classes = ["class-conditional"] if record.flow.get("y_condition") else []
    return {
        "library_name": "glow_pipeline",
        "pipeline_tag": "unconditional-image-generation",
        "license": "other",
        "license_name": _licence(record),
        "datasets": [record.dataset],
        "metrics": ["bits_per_dim"],
        "tags": ["glow", "normalizing-flow", "density-estimation", "out-of-distribution-detection", *classes],
    }


def _licence(record: ModelRecord) -> str:
    source = SOURCES.get(record.train_table.image_selection.source)
    if source is None:
        return UNKNOWN
    return "that of the images' owner" if record.train_table.image_selection.is_folder else source.licence


def _data_facts(record: ModelRecord, training: TrainingResult | None) -> dict[str, object]:
    table, selection = record.train_table, record.train_table.image_selection
    source, parts = SOURCES.get(selection.source), record.parts
    n_test = training.n_test if training is not None else record.test_table.count if record.test_table else None
    return {
        "images": record.dataset,
        "content": "a folder of its user" if selection.is_folder else source.title if source else UNKNOWN,
        "licence of the images": _licence(record),
        "classes": _classes(record),
        "training images": _number(parts.fit.count if parts else None),
        "validation images": _number(parts.validation.count if parts else None),
        "calibration images": _number(parts.calibration.count if parts else None),
        "test images": _number(n_test),
        **({"unreadable files left out": _number(table.n_unreadable)} if table.n_unreadable else {}),
    }


def _classes(record: ModelRecord) -> str:
    table = record.train_table
    names = [name for name in table.class_names if name]
    listed = ", ".join(names[:NAMED_AT_MOST]) + (", ..." if len(names) > NAMED_AT_MOST else "")
    chosen = table.image_selection.classes
    selected = f"; selected: {', '.join(map(str, chosen))}" if chosen is not None else ""
    return f"{table.num_classes}{f' ({listed})' if names else ''}{selected}"


def _source_files(record: ModelRecord) -> dict[str, object]:
    """Return the first source files with their SHA-256, and how many there are."""
    found = record.train_table.source_files
    return {"named": dict(list(found.items())[:FILES_NAMED]), "others": max(0, len(found) - FILES_NAMED)}


def _copies(training: TrainingResult | None) -> dict[str, str] | None:
    """Return the exact copies that were found, each kind with its number; None: unknown."""
    if training is None:
        return None
    return {COPY_NAMES[key]: f"{training.copies[key]:,}" for key in COPIES if training.copies.get(key)}


def _images_typed(record: ModelRecord) -> str:
    """Return the parameters that name the model's images, quoted for a shell; a folder by its name alone."""
    selection = record.train_table.image_selection
    if selection.is_folder:
        name = selection.name or (selection.path.name if selection.path is not None else "my_images")
        selection = selection.model_copy(update={"name": name, "path": None, "eval_path": None})
    return shlex.quote(images_as_typed(selection))


def _another(record: ModelRecord) -> str:
    """Return a dataset that can be the outliers in an example."""
    return "textures" if record.dataset != "textures" else "digits"


def _flat(group: Mapping[str, object]) -> dict[str, str]:
    return {name: "null" if value is None else str(value) for name, value in group.items()}


def _number(count: int | None) -> str:
    return UNKNOWN if count is None else f"{count:,}"


@cache
def _template() -> Template:
    environment = Environment(  # noqa: S701  # markdown, which `finalize` escapes
        finalize=escaped, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["code"] = code
    return environment.from_string(files(__package__).joinpath(TEMPLATE).read_text("utf-8"))
