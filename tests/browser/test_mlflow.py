"""`make ui`: MLflow's pages of this project's runs."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.chromium import WIDTH, Watched
from tests.browser.servers import made
from tests.processes import comes
from tests.project import kedro_run

TYPED = "model.K=2,model.L=2,model.hidden_channels=8,train.n_epochs=2,train.warmup=0,train.sample_and_save_freq=1"
# MLflow asks each server who the user is; one without accounts has no such page.
ITS_OWN = re.compile(r"users/current|Failed to load resource: the server responded with a status of 404")
# At first MLflow opens a panel of its assistant over a quarter of each page.
WITHOUT_ASSISTANT = """
if (location.protocol.startsWith("http")) {
  localStorage.setItem("mlflow.assistant.panelOpen_v1", "false");
  localStorage.setItem("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true");
}
"""


@pytest.fixture
def project(digits_project: Path) -> Path:
    """A project with two trainings that differ in their learning rate."""
    for lr in ("0.001", "0.004"):
        params = f"{TYPED},train.lr={lr}"
        kedro_run(digits_project, "--env", "digits", "--pipelines", "train", "--params", params)
    return digits_project


def test_runs_open_compare_and_explain_themselves(browser: Watched, project: Path) -> None:
    page = browser.page
    page.add_init_script(WITHOUT_ASSISTANT)
    with made("ui", project) as address:
        addresses = dict(re.findall(r"^  (\S.*?) +(http\S+)$", (project / "ui.log").read_text(), re.MULTILINE))

        open_page(page, addresses["runs like it"])
        for lr in ("0.001", "0.004"):
            expect(page.get_by_text(f"train digits lr={lr}").first).to_be_visible()
        expect(page.get_by_text("test/bits_per_dim").first).to_be_visible()
        browser.screenshot("mlflow_runs")

        open_page(page, addresses["as charts"])
        lines = page.locator(".js-plotly-plot").first.locator(".scatterlayer path.js-line")
        expect(lines.first).to_be_visible()  # of the validation images' bits/dim
        strokes = "lines => lines.map(line => line.style.stroke)"
        assert comes(lambda: len(set(lines.evaluate_all(strokes))) == 2)  # each run's line comes when it is fetched
        browser.screenshot("mlflow_charts")

        open_page(page, addresses["with the one before"])
        expect(page.get_by_text("Comparing 2 Runs")).to_be_visible()
        expect(page.get_by_text("train.lr").first).to_be_visible()
        browser.screenshot("mlflow_compare")

        open_page(page, addresses["the newest run"])
        expect(page.get_by_text("bits/dim on test images").first).to_be_visible()
        expect(page.get_by_text("kedro run --env digits").first).to_be_visible()
        browser.screenshot("mlflow_run")
        page.get_by_role("tab", name="Artifacts").click()
        page.get_by_text("training_curves.png").click()
        picture = page.locator("img[src^='blob:'], img[src*='training_curves']").first
        expect(picture).to_be_visible()
        assert picture.evaluate(WIDTH) > 300
        browser.screenshot("mlflow_artifacts")

        page.get_by_role("tab", name="Overview").click()
        model = page.locator("a[href*='/models/m-']").first.get_attribute("href")
        open_page(page, f"{address}/{model}")
        expect(page.get_by_role("heading", name="Bits per dimension")).to_be_visible()  # of the card
        browser.screenshot("mlflow_model")
    assert [line for line in browser.errors if not ITS_OWN.search(line)] == []
    assert browser.left_machine == []


def open_page(page: Page, address: str) -> None:
    """Load an address anew: another one of the same server would only change what follows its `#`."""
    page.goto("about:blank")
    page.goto(address)
