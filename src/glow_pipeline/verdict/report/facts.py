"""Facts of a report, each with its meaning: what the verdict is worth, and the card of the model and its detector."""

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from glow_pipeline.files import VERSION_TIME
from glow_pipeline.outliers.detector import DetectorRecord, UsedImages
from glow_pipeline.outliers.scores.score import Score
from glow_pipeline.provenance import Provenance
from glow_pipeline.training.records import ModelRecord
from glow_pipeline.verdict.sentences import ROUNDING, percent
from glow_pipeline.verdict.worth import Worth

NO_GUARANTEE = "Not guaranteed: the calibration images are no sample of new images (see the warnings)."


class Fact(NamedTuple):
    """A line of a table of facts; the note explains the term to a person who does not know it."""

    term: str
    value: str
    note: str = ""


def worth_facts(worth: Worth) -> list[Fact]:
    """Return what the verdicts are worth; facts of the list as a whole only where a file has a score."""
    discovery_rate = percent(worth.false_discovery_rate)
    facts = [
        Fact(
            "Calibration images",
            f"{worth.n_calibration:,}",
            "Images that belong and from which neither the model nor the score has learned. A p-value is the share of "
            "them, this image included, that looks at least as unusual as the image.",
        ),
        *_false_alarms(worth),
        Fact(
            "Smallest possible p-value",
            p_value(worth.smallest_p),
            "More calibration images make smaller ones possible.",
        ),
    ]
    if not worth.n_scored:
        return facts
    silence = (
        f" With {worth.n_calibration:,} calibration images it finds none in this list unless it finds "
        f"{worth.bh_fewest:,} together."
    )
    if worth.guaranteed:
        facts.append(
            Fact(
                "Files that do not belong",
                f"at least {worth.at_least_outliers:,}",
                "With 95% confidence, whichever they are (closed testing).",
            )
        )
    few = f"Of these at most {discovery_rate} are false alarms, on average." if worth.guaranteed else NO_GUARANTEE
    facts.append(
        Fact(
            "Outliers by Benjamini-Hochberg",
            f"{worth.n_outliers_bh:,}",
            f"{few}{silence if worth.bh_fewest > 1 else ''}",
        )
    )
    if worth.folder_p_value is not None:
        facts.append(
            Fact(
                "p-value of the list as a whole",
                p_value(worth.folder_p_value),
                "Small when the list as a whole differs from the calibration images, even where no image stands out.",
            )
        )
    return facts


def _false_alarms(worth: Worth) -> list[Fact]:
    rate = percent(worth.false_alarm_rate)
    called = f"An image is called an outlier when its p-value is at most {rate}."
    if not worth.guaranteed:
        return [Fact("False-alarm rate", rate, f"{called} {NO_GUARANTEE}")]
    return [
        Fact(
            "False-alarm rate",
            rate,
            f"{called} So often, at most, an image that belongs is called one, on average over calibration sets.",
        ),
        Fact(
            "False-alarm rate with these calibration images",
            f"at most {percent(worth.false_alarm_bound)}",
            "With 90% confidence. The more calibration images, the nearer to the rate above.",
        ),
    ]


def model_facts(record: ModelRecord) -> list[Fact]:
    """Return what the model is and how it was trained."""
    return list(_model_facts(record))


def _model_facts(record: ModelRecord) -> Iterator[Fact]:
    form, table, selection = record.image_format, record.train_table, record.train_table.image_selection
    yield Fact("Dataset", record.dataset)
    if record.num_classes:
        classes = "all" if selection.classes is None else ", ".join(map(str, selection.classes))
        yield Fact("Classes", classes, f"Of {record.num_classes:,}.")
    colours = "grey" if form.channels == 1 else "colour"
    how = "padded with black" if form.fit == "pad" else "resized to this width and height, whatever their shape"
    yield Fact(
        "Images",
        f"{form.width} x {form.height} pixels, {colours}, {form.n_bits} bits",
        f"Files of another size or colour are brought to this form before they are judged ({how}).",
    )
    n_trained = table.count if record.parts is None else record.parts.fit.count
    yield Fact("Training images", f"{n_trained:,}", "" if record.parts is None else "Those that chose the weights.")
    yield Fact(
        "Training",
        f"{record.epochs:,} epochs, {record.steps:,} steps",
        f"The weights are of epoch {record.best_epoch:,}."
        + (" The training ended because it diverged after that." if record.diverged else ""),
    )
    if record.val_bits_per_dim is not None:
        given = " given the class" if record.flow.get("y_condition") else ""
        yield Fact(
            "Bits per dimension", f"{record.val_bits_per_dim:.3f}", f"Of validation images{given}; lower is better."
        )
    if record.started_from is not None:
        yield Fact("Started from", record.started_from)
    yield Fact("Trained on", record.device)
    yield from _run_facts("Version", record.provenance)


def detector_facts(record: DetectorRecord, score: Score, worth: Worth) -> list[Fact]:
    """Return what the detector was made of."""
    return list(_detector_facts(record, score, worth))


def _detector_facts(record: DetectorRecord, score: Score, worth: Worth) -> Iterator[Fact]:
    yield Fact("Score", score.name, f"{score.label}. Paper: {score.paper}.")
    yield Fact(
        "Fitted on",
        f"{record.n_validation:,} validation images",
        _source(record.validation),
    )
    yield Fact("Calibrated with", f"{worth.n_calibration:,} images", _source(record.calibration))
    if record.calibration_files is not None:
        yield Fact(
            "Files of the calibration images",
            f"{', '.join(record.calibration_files.kinds)}; {', '.join(record.calibration_files.colours)}",
            "Files that are stored in another way are warned of.",
        )
    if record.copies_left_out:
        yield Fact(
            "Left out", f"{record.copies_left_out:,} images", "Exact copies of images that the model was trained on."
        )
    if record.codecs:
        yield Fact("Codecs", listed_versions(record.codecs), "The libraries that compress the images for the score.")
    yield Fact("Weights of its model", record.model_sha256, "SHA-256. A detector judges by no other model.")
    yield from _run_facts("Version", record.provenance)


def _source(images: UsedImages) -> str:
    if images.origin is None:
        return ""
    return f"Of the {images.table_count:,} images of {images.origin.title}."


def _run_facts(term: str, made_in: Provenance) -> Iterator[Fact]:
    if made_in.kedro_session is not None:
        yield Fact(term, made_in.kedro_session, f"Made on {date_of(made_in.kedro_session)}.")
    if made_in.git_commit is not None:
        yield Fact("Code", made_in.git_commit, "With changes that are not committed." if made_in.git_dirty else "")


def date_of(version: str) -> str:
    """Return the date and time of a version's label in words; the label where it is not one of this project's."""
    try:
        made = datetime.strptime(version, VERSION_TIME)
    except ValueError:
        return version
    return f"{made.day} {made:%B %Y, %H:%M} UTC"


def p_value(p: float) -> str:
    """Return a p-value with four decimals; a smaller one with two digits, as far as there are any."""
    if 0 < p < ROUNDING:
        return f"below {ROUNDING:g}"
    return f"{p:.4f}" if p >= 0.0005 or p == 0 else f"{p:.2g}"


def listed_versions(versions: dict[str, str]) -> str:
    """Return versions by name in one line."""
    return ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
