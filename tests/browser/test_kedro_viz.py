"""`make viz`: the picture of the pipelines, with previews of what was run."""

import re
from pathlib import Path

from playwright.sync_api import expect

from tests.browser.chromium import WIDTH, Watched
from tests.browser.servers import made
from tests.processes import comes

STAGES = ("ingest", "train", "calibrate", "sample", "ood")
HIDDEN = ("image_selection", "image_format", "provenance", "training", "parameters")


def test_pipelines_open_with_previews(browser: Watched, digits_project: Path) -> None:
    page = browser.page
    with made("viz", digits_project) as address:
        page.goto(address)
        nodes = page.locator(".pipeline-node")
        expect(nodes.first).to_be_visible()
        assert comes(lambda: set(STAGES) <= set(nodes.all_text_contents()))
        assert set(nodes.all_text_contents()).isdisjoint(HIDDEN)
        browser.screenshot("kedro_viz_all")

        page.goto(f"{address}/?pid=__default__&sn=training_curves")
        picture = page.locator(
            ".pipeline-metadata__plot img, .preview-image img, img.pipeline-metadata__plot-image"
        ).first
        expect(picture).to_be_visible()
        assert picture.evaluate(WIDTH) > 300
        browser.screenshot("kedro_viz_training_curves")

        page.goto(f"{address}/?pid=__default__&sn=train_metrics")
        expect(page.get_by_text(re.compile("test_bits_per_dim")).first).to_be_visible()
        browser.screenshot("kedro_viz_train_metrics")
    assert browser.errors == []
