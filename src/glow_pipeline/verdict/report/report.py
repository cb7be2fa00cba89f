"""The report: everything it says, and its page."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files

import numpy as np
import pandas as pd
from jinja2 import Environment, StrictUndefined, Template
from matplotlib.figure import Figure

from glow_pipeline.images.sources.names import printable
from glow_pipeline.outliers.conformal.p_values import p_values
from glow_pipeline.outliers.detector import Detector
from glow_pipeline.outliers.heat_maps.scale import BRIGHT, DARK, brightness
from glow_pipeline.outliers.scores.score import Score
from glow_pipeline.plots.calibrated_scores import calibrated_scores
from glow_pipeline.plots.surprise import surprise_legend
from glow_pipeline.provenance import Provenance
from glow_pipeline.training.records import ModelRecord
from glow_pipeline.verdict import columns
from glow_pipeline.verdict.report import facts
from glow_pipeline.verdict.report.contact_sheet import contact_sheet
from glow_pipeline.verdict.report.pictures import inlined, inlined_figure, magnification, png_of
from glow_pipeline.verdict.report.rows import Row, cards_of, common_folder, rows_of, unreadable_of
from glow_pipeline.verdict.sentences import percent
from glow_pipeline.verdict.shown import ShownImage
from glow_pipeline.verdict.worth import Worth, lines_of_worth

TEMPLATE = "report.html.jinja"
TICKS = (DARK, 0.99, BRIGHT)  # of the legend
MOST_ROWS = 500  # of each table: a browser shows no page of 100,000 rows, and nobody reads one


@dataclass(frozen=True)
class Report:
    """A report on scored files.

    Attributes:
        images: `score.images`, as typed.
        scored: the table of scored files, sorted by suspicion.
        worth: what their verdicts are worth.
        shown: the most suspicious images.
        model: record of the model.
        detector: of this model.
        score: the score that carries the verdict.
        made_in: the run that made the table.
        notes: how files were read, in a few words each.
    """

    images: str
    scored: pd.DataFrame
    worth: Worth
    shown: Sequence[ShownImage]
    model: ModelRecord
    detector: Detector
    score: Score
    made_in: Provenance
    notes: Sequence[str] = ()

    def html(self) -> str:
        """Return the page: one file that needs no other and no network. Equal reports have equal pages."""
        folder, width = self._folder, self.model.image_format.width
        readable = self.scored[self.scored[columns.UNREADABLE].isna()]
        unreadable = unreadable_of(self.scored, folder)
        return _template().render(
            title=f"Which images do not belong: {printable(self.images)}",
            images=printable(self.images),
            folder=printable(folder),
            model=self.model.dataset,
            date=None if self.made_in.kedro_session is None else facts.date_of(self.made_in.kedro_session),
            version=self.made_in.kedro_session,
            verdict=lines_of_worth(self.worth),
            worth=self.worth,
            notes="; ".join(map(printable, self.notes)),
            cards=cards_of(self.shown, self._shown_rows, self.model.image_format.n_bits),
            n_calibration=f"{self.worth.n_calibration:,}",
            rate=percent(self.worth.false_alarm_rate),
            enlarged=width * magnification(width),
            legend=inlined(png_of(surprise_legend())),
            ticks=[(percent(tick), f"{100 * brightness(np.array(tick)):.1f}") for tick in TICKS],
            rows=rows_of(readable.iloc[:MOST_ROWS], folder, self.score.column),
            n_rows=len(readable),
            score_label=self.score.label,
            histogram=inlined_figure(self._histogram(readable)) if len(readable) else None,
            unreadable=unreadable[:MOST_ROWS],
            n_unreadable=len(unreadable),
            worth_facts=facts.worth_facts(self.worth),
            model_facts=facts.model_facts(self.model),
            detector_facts=facts.detector_facts(self.detector.record, self.score, self.worth),
            command=self.made_in.command,
            commit=self.made_in.git_commit,
            versions=facts.listed_versions(self.made_in.versions),
        )

    def contact_sheet(self) -> Figure:
        """Return the most suspicious images with their heat maps, in one picture."""
        title = f"The most suspicious of {self.worth.n_scored:,} images: {printable(self.images)}"
        return contact_sheet(self.shown, self._shown_rows, self.model.image_format.n_bits, title)

    @cached_property
    def _folder(self) -> str:
        return common_folder(self.scored[columns.FILE].tolist())

    @cached_property
    def _shown_rows(self) -> list[Row]:
        return rows_of(self.scored.iloc[[image.row for image in self.shown]], self._folder, self.score.column)

    def _histogram(self, readable: pd.DataFrame) -> Figure:
        calibration, rate = self.detector.calibration[self.score.name], self.worth.false_alarm_rate
        # The highest score that is no outlier's: whatever scores higher has a p-value of at most the rate.
        threshold = float(np.max(calibration[p_values(calibration, calibration) > rate]))
        scores, out = readable[self.score.column].to_numpy(), readable[columns.VERDICT].to_numpy() == columns.OUTLIER
        return calibrated_scores(calibration, scores[out], scores[~out], threshold, self.score.label)


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(files(__package__).joinpath(TEMPLATE).read_text("utf-8"))
