"""Addresses of pages of MLflow's UI."""

import pytest

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.tracking.pages import Pages, port_of_ui, server_of
from glow_pipeline.tracking.run_pages import pages_without_view

PAGES = Pages("http://127.0.0.1:5000", "1")


def test_every_page_opens_for_model_training() -> None:
    addresses = [PAGES.runs(), PAGES.run("a"), PAGES.model("m-1"), PAGES.compare(["a", "b"])]
    assert all(address.endswith("workflowType=machine_learning") for address in addresses)
    assert PAGES.run("a").startswith("http://127.0.0.1:5000/#/experiments/1/runs/a?")


def test_compared_runs_are_lists_of_json() -> None:
    assert "runs=%5B%22a%22%2C%22b%22%5D&experiments=%5B%221%22%5D" in PAGES.compare(["a", "b"])


def test_view_and_charts_are_in_the_address() -> None:
    assert PAGES.runs("train-digits", charts=True).endswith("compareRunsMode=CHART&viewStateShareKey=train-digits")


def test_server_is_shown_without_password() -> None:
    assert server_of("https://me:secret@host/mlflow/") == "https://me:***@host/mlflow"
    assert server_of("sqlite:////project/mlflow.db", 5005) == "http://127.0.0.1:5005"


@pytest.mark.parametrize("port", ["http", "0", "65536", "-1", "5e3"])
def test_wrong_port_is_one_line(port: str) -> None:
    assert (port_of_ui({}), port_of_ui({"UI_PORT": "5005"})) == (5000, 5005)
    with pytest.raises(GlowPipelineError, match=f"^UI_PORT={port}: must be a port, 1 to 65535"):
        port_of_ui({"UI_PORT": port})


def test_pages_of_a_server_need_no_ui() -> None:
    assert pages_without_view(PAGES, "abc").needs_ui
    assert not pages_without_view(Pages("http://127.0.0.1:8080", "1", needs_ui=False), "abc").needs_ui
