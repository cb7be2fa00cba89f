"""Addresses of pages of MLflow's UI, in its mode for model training."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.local_server import HOST
from glow_pipeline.tracking.failures import without_password

DEFAULT_PORT = 5000
PORT_VARIABLE = "UI_PORT"  # of the environment and of `make ui`
# Without it the UI opens in the mode that the browser has seen last: at first that of GenAI, without charts.
WORKFLOW = {"workflowType": "machine_learning"}


@dataclass(frozen=True)
class Pages:
    """The pages of one experiment.

    Attributes:
        server: address of the server, without a slash at its end.
        experiment_id: the experiment.
        needs_ui: whether they open only while `make ui` runs.
    """

    server: str
    experiment_id: str
    needs_ui: bool = True

    def runs(self, view: str | None = None, *, charts: bool = False) -> str:
        """Return the page of all runs, with a prepared view if its key is given, as a table or as charts."""
        query = dict(WORKFLOW)
        if charts:
            query["compareRunsMode"] = "CHART"
        if view is not None:
            query["viewStateShareKey"] = view
        return self._page(f"/experiments/{self.experiment_id}/runs", query)

    def run(self, run_id: str) -> str:
        return self._page(f"/experiments/{self.experiment_id}/runs/{run_id}", WORKFLOW)

    def model(self, model_id: str) -> str:
        return self._page(f"/experiments/{self.experiment_id}/models/{model_id}", WORKFLOW)

    def compare(self, run_ids: list[str]) -> str:
        """Return the page that compares these runs."""
        query = {
            "runs": json.dumps(run_ids, separators=(",", ":")),
            "experiments": json.dumps([self.experiment_id], separators=(",", ":")),
            **WORKFLOW,
        }
        return self._page("/compare-runs", query)

    def _page(self, path: str, query: dict[str, str]) -> str:
        return f"{self.server}/#{path}?{urlencode(query)}"


def port_of_ui(environment: Mapping[str, str]) -> int:
    """Return the port at which `make ui` serves: UI_PORT of the environment, else 5000.

    Raises:
        GlowPipelineError: it is no port.
    """
    given = environment.get(PORT_VARIABLE) or str(DEFAULT_PORT)
    if not (given.isascii() and given.isdigit() and 0 < int(given) < 2**16):
        raise GlowPipelineError(f"{PORT_VARIABLE}={given}: must be a port, 1 to 65535; correct it, or unset it")
    return int(given)


def server_of(tracking_uri: str, port: int = DEFAULT_PORT) -> str:
    """Return the address of the UI: the server's, or where `make ui` starts one for a database."""
    if is_server(tracking_uri):
        return without_password(tracking_uri).rstrip("/")
    return f"http://{HOST}:{port}"


def is_server(tracking_uri: str) -> bool:
    """Return whether the tracking URI is of a server, which has its own UI."""
    return tracking_uri.lower().startswith(("http://", "https://"))
