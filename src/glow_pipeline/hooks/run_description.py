"""The description of an MLflow run: what it did on what, how good it is, and which command repeats it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from glow_pipeline.counting import counted
from glow_pipeline.hooks.key_figures import KeyFigures
from glow_pipeline.images.table import ImageTable, TableRecord
from glow_pipeline.provenance import Provenance
from glow_pipeline.tracking.command_run import ModelOfRun
from glow_pipeline.tracking.pages import Pages
from glow_pipeline.training.model_card.markdown import code, escaped, fenced

DOES = {
    "all": "Prepares images, trains a Glow, draws samples and scores outliers",
    "ingest": "Prepares images",
    "train": "Trains a Glow",
    "sample": "Draws samples",
    "ood": "Scores outliers",
    "score": "Judges images",
    "benchmark": "Measures the outlier scores on many sets of images",
    "calibrate": "Fits a detector to a stored model",
    "search": "Searches for the parameters of a Glow",
    "register": "Registers a detector",
}
# Shown beside those that were typed.
PARAMETERS_THAT_MATTER = (
    *("seed", "model.K", "model.L", "model.hidden_channels", "model.flow_coupling", "model.n_bits"),
    *("train.lr", "train.batch_size", "train.n_epochs"),
)
SHOWN_FIRST = 2  # figures before the command; the others follow it


@dataclass(frozen=True)
class Table:
    """A table of images that a run reads."""

    record: TableRecord
    count: int


@dataclass
class RunDescription:
    """Everything that the description is written from; what is not known yet is left out of it.

    Attributes:
        pipelines: their names, joined by +.
        subject: the images: `digits vs textures`.
        command: the command that repeats the run.
        provenance: of the run.
        typed: parameters of `--params` by their dotted names.
        params: all parameters that are recorded.
        pages: of the run's experiment.
        in_part: only some nodes of the pipelines run.
        tables: of images that the run has read.
        model: the model that the run has made or uses.
        stored_model: the version of a model that the run uses and has not made.
        figures: of the run.
    """

    pipelines: str
    subject: str
    command: str
    provenance: Provenance
    typed: Mapping[str, Any]
    params: Mapping[str, Any]
    pages: Pages
    stored_model: str | None = None
    in_part: bool = False
    tables: dict[str, Table] = field(default_factory=dict)
    model: ModelOfRun | None = None
    figures: KeyFigures = field(default_factory=KeyFigures)

    def add_table(self, name: str, table: ImageTable) -> None:
        """Take a table that the run reads, by its name in the catalog."""
        self.tables[name] = Table(table.record, len(table))

    def markdown(self) -> str:
        """Return the text."""
        figures = [f"**{figure.value}** {escaped(figure.meaning)}" for figure in self.figures.figures()]
        more = [*figures[SHOWN_FIRST:], *(escaped(line.strip()) for line in self.figures.notes())]
        parts: list[Sequence[str]] = [
            [self._summary()],
            [" · ".join(figures[:SHOWN_FIRST])] if figures else [],
            [fenced(self.command)],
            [f"- {line}" for line in more],
            self._model(),
            _table(("images", "number", "format", "classes"), self._images()),
            _table(("parameter", "value"), self._parameters()),
            self._repeat(),
        ]
        return "\n\n".join("\n".join(lines) for lines in parts if lines)

    def _summary(self) -> str:
        """Return what the run does on what: the part of the text that MLflow shows without a click begins so."""
        summary = f"**{_does(self.pipelines)}{', in part' if self.in_part else ''}**: {code(self.subject)}"
        if not self.tables:
            return f"{summary}."
        counts = ", ".join(f"{table.count:,} {name.replace('_', ' ')}" for name, table in self.tables.items())
        formats = dict.fromkeys(table.record.image_format.key for table in self.tables.values())
        classes = {table.record.num_classes for table in self.tables.values()}
        in_all = "".join(f", {counted(n, 'class', 'classes')}" for n in classes) if len(classes) == 1 else ""
        return f"{summary}, {counts} ({', '.join(formats)}{in_all})."

    def _model(self) -> list[str]:
        if self.model is None:
            return []
        page, run = self.model.model_id, self.model.source_run_id
        name = code(self.model.name) if page is None else f"[{self.model.name}]({_within(self.pages.model(page))})"
        if self.stored_model is None:
            return [f"Model: {name}."]
        trained = "its training is not in this experiment" if run is None else f"[its training]({self._run(run)})"
        return [f"Model: {name}, {trained}."]

    def _run(self, run_id: str) -> str:
        return _within(self.pages.run(run_id))

    def _images(self) -> Iterable[tuple[str, ...]]:
        for name, table in self.tables.items():
            record = table.record
            yield (
                f"{escaped(record.name)} {record.split} ({name})",
                f"{table.count:,}",
                record.image_format.key,
                str(record.num_classes),
            )

    def _parameters(self) -> Iterable[tuple[str, ...]]:
        for name in dict.fromkeys([*self.typed, *PARAMETERS_THAT_MATTER]):
            if name in self.params:
                yield f"{escaped(name)}{' (typed)' if name in self.typed else ''}", code(self.params[name])

    def _repeat(self) -> list[str]:
        commit = self.provenance.git_commit
        changed = " with uncommitted changes" if self.provenance.git_dirty else ""
        at = "" if commit is None else f" (commit {code(commit[:10])}{changed})"
        lines = [f"The command above repeats it{at}. With settings in `conf/local`, these have to be as they were."]
        if self.stored_model is not None and "stored_model" not in self.typed:
            lines += [
                "",
                f"Once there is a newer model, add {code(f'stored_model={self.stored_model}')} to `--params`.",
            ]
        return lines


def _does(pipelines: str) -> str:
    if pipelines in DOES:
        return DOES[pipelines]
    known = [DOES.get(name, f"Runs {name}") for name in pipelines.split("+")]
    return ", ".join([known[0], *(f"{does[0].lower()}{does[1:]}" for does in known[1:])])


def _table(titles: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Return a table; without rows nothing."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}", *lines] if lines else []


def _within(page: str) -> str:
    """Return a page's address within its server, whichever address a person uses for that."""
    return page[page.index("#") :]
