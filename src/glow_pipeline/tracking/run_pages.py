"""The pages of MLflow's UI that a person opens after a run: the run, beside the one before, and all of its kind."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from glow_pipeline.tracking.failures import restrain_mlflow
from glow_pipeline.tracking.pages import Pages
from glow_pipeline.tracking.prepared_views import (
    TAG_PREFIX,
    differing,
    encoded,
    first_sampled,
    quoted,
    view_key,
    view_of,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

LOOKED_AT = 20  # earlier runs, for what differs


@dataclass(frozen=True)
class RunPages:
    """Addresses of pages about a run.

    Attributes:
        run: the run.
        kind: all runs of the same pipeline on the same dataset, as a table with the columns that matter.
        charts: the same as charts.
        compared: the run beside the one before; None: there is none.
        needs_ui: whether they open only while `make ui` runs.
    """

    run: str
    kind: str
    charts: str
    compared: str | None
    needs_ui: bool

    def lines(self) -> list[tuple[str, str]]:
        """Return the title and the address of each page."""
        compared = [] if self.compared is None else [("with the one before", self.compared)]
        return [("this run", self.run), *compared, ("runs like it", self.kind), ("as charts", self.charts)]


def pages_without_view(pages: Pages, run_id: str) -> RunPages:
    """Return the pages of a run that can be named without asking MLflow."""
    return RunPages(pages.run(run_id), pages.runs(), pages.runs(charts=True), None, pages.needs_ui)


def prepare_pages(client: "MlflowClient", pages: Pages, run_id: str, pipeline: str, dataset: str) -> RunPages:
    """Store the view of the runs of this pipeline on this dataset, and return the pages of a run of these.

    The view's columns are the parameters that differ between the latest runs.
    """
    found = client.search_runs(
        [pages.experiment_id],
        filter_string=f"tags.pipeline = {quoted(pipeline)} and tags.dataset = {quoted(dataset)}",
        max_results=LOOKED_AT + 1,
    )
    recorded = [run.data.params for run in found]
    view = view_of(pipeline, dataset, differing(recorded), first_sampled(recorded[0]) if recorded else 0)
    key = view_key(pipeline, dataset)
    value, tag = encoded(view), f"{TAG_PREFIX}{key}"
    if client.get_experiment(pages.experiment_id).tags.get(tag) != value:
        client.set_experiment_tag(pages.experiment_id, tag, value)
    before = _before(found, run_id)
    return RunPages(
        pages.run(run_id),
        pages.runs(key),
        pages.runs(key, charts=True),
        None if before is None else pages.compare([before, run_id]),
        pages.needs_ui,
    )


def _before(found: "list[Run]", run_id: str) -> str | None:
    """Return the newest finished run beside this one; `found` begins with the newest."""
    return next((run.info.run_id for run in found if run.info.status == "FINISHED" and run.info.run_id != run_id), None)


def first_pages(tracking_uri: str, experiment: str, server: str) -> list[tuple[str, str]]:
    """Return the title and the address of the pages to begin with: of all runs, and of the newest one.

    Args:
        tracking_uri: of the database or server.
        experiment: name of the experiment.
        server: address of the UI.

    Returns:
        Nothing if the experiment has no runs of commands.
    """
    restrain_mlflow()
    import mlflow

    client = mlflow.MlflowClient(tracking_uri)
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return []
    pages = Pages(server, found.experiment_id)
    newest = client.search_runs([found.experiment_id], filter_string="tags.pipeline LIKE '%'", max_results=1)
    if not newest:
        return []
    (run,) = newest
    tags = run.data.tags
    of_run = prepare_pages(client, pages, run.info.run_id, tags["pipeline"], tags.get("dataset", ""))
    _, *others = of_run.lines()
    return [("all runs", pages.runs()), ("the newest run", of_run.run), *others]
