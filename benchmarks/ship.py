"""Copy a trained model into `models/`, a part of the repository, under a name that commands take (docs/models.md).

    python benchmarks/ship.py <name> <model> [--force]

`<model>` is a `.safetensors` file, or a folder of versions, whose newest is taken. With it go its newest detector, its
card, the picture and the figures of the card. Then the checksums and the table in `models/README.md` are written anew,
of all models there.

Refused without --force: a model whose commit is unknown or had uncommitted changes, and one whose files name a folder
of this machine.
"""

import argparse
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import replaced_between, sha256, written_whole
from glow_pipeline.images.as_typed import images_as_typed
from glow_pipeline.images.sources.registry import SOURCES
from glow_pipeline.outliers.detector_file import read_detector_record
from glow_pipeline.training.model_card.card import CARD_FILE, SAMPLES_FILE
from glow_pipeline.training.model_card.folder import RESULTS, TRAINING_FILE
from glow_pipeline.training.model_card.markdown import code, escaped
from glow_pipeline.training.model_card.page import MADE_BY
from glow_pipeline.training.model_card.results import DetectionResult, DetectionRow, TrainingResult
from glow_pipeline.training.model_file import MODEL_FILE, read_record
from glow_pipeline.training.named_model import model_at
from glow_pipeline.training.records import ModelRecord
from glow_pipeline.training.shipped_models import CHECKOUT, CHECKSUMS, SHIPPED
from glow_pipeline.training.stored_detectors import DETECTOR_FILE
from glow_pipeline.verdict.load import find_detector

NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
BEGIN, END = "<!-- Written by benchmarks/ship.py -->\n", "<!-- until here -->\n"
TITLES = (
    "name",
    "images",
    "bits/dim on test images",
    "AUROC of outliers",
    "size",
    "licence of the images",
    "trained by",
)
OUT_SETS = 4  # that the table names


def ship(name: str, model: Path, folder: Path, force: bool = False) -> Path:
    """Copy a model with all that belongs to it into a folder of shipped models, and return its folder there.

    Args:
        name: of the shipped model; one that is there is replaced.
        model: its file.
        folder: of all shipped models.
        force: ship it whatever `problems` finds.

    Raises:
        GlowPipelineError: the name has other characters, or the model is the shipped one itself, has no detector, no
            card, or a problem.
    """
    if NAME.fullmatch(name) is None:
        raise GlowPipelineError(f"{name}: should be a name of small letters, digits, - and _, as fashionmnist")
    if (folder / name).resolve() in model.resolve().parents:
        raise GlowPipelineError(f"{model}: is shipped as {name} already; give a model below data/06_models")
    record, detector, card = read_record(model), find_detector(model), model.with_name(CARD_FILE)
    if not card.is_file():
        raise GlowPipelineError(f"{card}: no card; `kedro run --pipelines ood` with this model writes it")
    for problem in [] if force else problems(record, read_detector_record(detector)[0].model_dump_json(), card):
        raise GlowPipelineError(f"{model}: {problem}, or add --force")
    shutil.rmtree(folder / name, ignore_errors=True)
    (folder / name).mkdir(parents=True)
    shutil.copyfile(model, folder / name / MODEL_FILE)
    shutil.copyfile(detector, folder / name / DETECTOR_FILE)
    (folder / name / CARD_FILE).write_text(card_of_shipped(name, record, card.read_text("utf-8")), "utf-8")
    if model.with_name(SAMPLES_FILE).is_file():
        shutil.copyfile(model.with_name(SAMPLES_FILE), folder / name / SAMPLES_FILE)
    if model.with_name(RESULTS).is_dir():
        shutil.copytree(model.with_name(RESULTS), folder / name / RESULTS)
    return folder / name


def problems(record: ModelRecord, detector: str, card: Path) -> Iterator[str]:
    """Yield what speaks against a model in the repository, and what to do."""
    commit = record.provenance.git_commit
    if commit is None or record.provenance.git_dirty is None:
        yield "the commit that trained it was not recorded; train it in a clone"
    if record.provenance.git_dirty:
        yield f"it was trained with uncommitted changes to {str(commit)[:10]}; commit them, and train it again"
    for text in (record.model_dump_json(), detector, card.read_text("utf-8")):
        for place in {str(Path.home()), str(CHECKOUT)}:
            if len(place) > 1 and re.search(rf"{re.escape(place)}[/\"]", text):
                yield f"its files name {place} on this machine; train it with paths within the project"


def card_of_shipped(name: str, record: ModelRecord, card: str) -> str:
    """Return a model's card with the commands that a clone of the repository understands.

    The line is left out by which commands know that they may write the card again.
    """
    typed = f"{shlex.quote(images_as_typed(record.train_table.image_selection))},stored_model="
    return card.replace(f"{MADE_BY}\n\n", "").replace(f"{typed}{record.provenance.kedro_session}", f"model={name}")


def write_list(folder: Path) -> None:
    """Write the checksums, and the table in the page, of all models in the folder."""
    models = sorted(folder.glob(f"*/{MODEL_FILE}"))
    files = [path for model in models for path in (model, model.with_name(DETECTOR_FILE))]
    sums = "".join(f"{sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in files)
    header = [f"| {' | '.join(TITLES)} |", f"|{'---|' * len(TITLES)}"]
    table = "\n".join([*header, *(f"| {' | '.join(row(model))} |" for model in models)])
    page = folder / CARD_FILE
    text_of_page = replaced_between(page.read_text("utf-8"), BEGIN, END, f"\n{table}\n\n")
    for path, text in ((folder / CHECKSUMS, sums), (page, text_of_page)):
        with written_whole(path) as temporary:
            temporary.write_text(text, "utf-8")


def row(model: Path) -> tuple[str, ...]:
    """Return a model's row of the table."""
    record, results = read_record(model), model.with_name(RESULTS)
    source = SOURCES.get(record.train_table.image_selection.source)
    sizes = [path.stat().st_size / 1e6 for path in (model, model.with_name(DETECTOR_FILE))]
    return (
        code(model.parent.name),
        escaped(f"{record.dataset}{f', {source.title}' if source else ''}, {record.image_format.size_and_bits}"),
        _bits_per_dim(results / TRAINING_FILE, record),
        _aurocs(results),
        f"{sizes[0]:.1f} MB, detector {sizes[1]:.1f} MB",
        escaped(source.licence if source else "that of its owner"),
        code(record.provenance.command or "not recorded"),
    )


def _bits_per_dim(path: Path, record: ModelRecord) -> str:
    if not path.is_file():
        return "not recorded"
    training = TrainingResult.model_validate_json(path.read_bytes())
    value = "not finite" if training.test_bits_per_dim is None else f"{training.test_bits_per_dim:.4f}"
    return f"{value} ({training.n_test:,} images, epoch {record.best_epoch} of {record.epochs})"


def _aurocs(results: Path) -> str:
    """Return the newest AUROC of the main score on each set of outliers, those of `ood` first."""
    paths = sorted(results.glob("ood_*.json"), reverse=True) + sorted(results.glob("benchmark_*.json"), reverse=True)
    rows: dict[str, DetectionRow] = {}
    for path in paths:
        found = DetectionResult.model_validate_json(path.read_bytes())
        measured = found.rows[:1] if found.pipeline == "ood" else found.rows
        rows = {each.out_set: each for each in measured if each.kind != "control"} | rows
    listed = [
        f"{escaped(each.out_set)} {'not finite' if each.auroc is None else f'{each.auroc:.4f}'} ({code(each.score)})"
        for each in rows.values()
    ]
    return ", ".join(listed[:OUT_SETS]) or "not measured"


def main() -> None:
    """Ship a model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="what users type after model=")
    parser.add_argument("model", type=Path, help="a .safetensors file, or a folder of versions")
    parser.add_argument("--force", action="store_true", help="whatever its commit is")
    arguments = parser.parse_args()
    model = model_at(arguments.model)
    try:
        if model is None:
            raise GlowPipelineError(f"{arguments.model}: no model there; train one with kedro run --pipelines train")
        shipped = ship(arguments.name, model, CHECKOUT / SHIPPED, arguments.force)
        write_list(CHECKOUT / SHIPPED)
    except GlowPipelineError as error:
        sys.exit(f"Error: {error}")
    print(f"{model} is {shipped}; type `git add {SHIPPED}`, and commit it")  # noqa: T201


if __name__ == "__main__":
    main()
