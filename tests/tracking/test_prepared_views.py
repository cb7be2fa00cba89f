"""Prepared views of an experiment's runs."""

import re

from glow_pipeline.tracking.prepared_views import (
    RUN_NAME,
    decoded,
    differing,
    encoded,
    first_sampled,
    quoted,
    view_key,
    view_of,
)

LONGEST_TAG = 20_000  # characters of an experiment's tag


def test_view_shows_what_matters_and_differs() -> None:
    view = view_of("train", "digits", ["model.K", "ood.bootstrap", "train.lr"])
    assert view["selectedColumns"] == [
        *("metrics.`test/bits_per_dim`", "metrics.`val/best_bits_per_dim`"),
        *("params.`model.K`", "params.`train.lr`"),
    ]
    assert view["columnOrder"] == [RUN_NAME, *view["selectedColumns"]]
    assert view["searchFilter"] == "tags.pipeline = 'train' and tags.dataset = 'digits'"


def test_columns_are_there_before_anything_differs() -> None:
    assert "params.`train.lr`" in view_of("train", "digits", [])["selectedColumns"]
    assert "metrics.`ood/auroc`" in view_of("all", "digits", [])["selectedColumns"]
    assert "metrics.`ood/auroc`" in view_of("ood+sample", "digits", ["seed"])["selectedColumns"]


def test_charts_begin_with_validation_and_samples() -> None:
    view = view_of("train", "digits", [])
    sections = {section["uuid"]: section["name"] for section in view["compareRunSections"]}
    assert list(sections.values())[:2] == ["val", "samples"]
    assert {sections[chart["metricSectionId"]] for chart in view["compareRunCharts"]} == set(sections.values())
    first = next(chart for chart in view["compareRunCharts"] if sections[chart["metricSectionId"]] == "val")
    assert (first["type"], first["metricKey"]) == ("LINE", "val/bits_per_dim")
    assert len({chart["uuid"] for chart in view["compareRunCharts"]}) == len(view["compareRunCharts"])


def test_first_picture_is_of_the_first_sampled_epoch() -> None:
    assert first_sampled({"train.sample_and_save_freq": "15", "train.n_epochs": "75"}) == 15
    assert first_sampled({"train.sample_and_save_freq": "15", "train.n_epochs": "5"}) == 5, (
        "the last epoch is drawn too"
    )
    assert first_sampled({}) == 0
    charts = {chart["uuid"]: chart for chart in view_of("all", "digits", [], first_sampled=15)["compareRunCharts"]}
    assert charts["glow-samples-by_epoch"]["step"] == 15
    assert charts["glow-figures-ood_roc"]["step"] == 0


def test_charts_are_those_of_the_pipeline() -> None:
    view = view_of("ood", "digits", [])
    assert [section["name"] for section in view["compareRunSections"]] == ["differences", "ood", "figures"]


def test_encoded_view_fits_a_tag() -> None:
    view = view_of("all", "digits", [f"train.parameter_{k}" for k in range(500)])
    assert decoded(encoded(view)) == view
    assert encoded(view).startswith("deflate;")
    assert len(encoded(view)) < LONGEST_TAG


def test_keys_are_plain_and_distinct() -> None:
    keys = {view_key("train", name) for name in ("digits", "folder x/y", "folder x?y", "folder-x-y")}
    assert len(keys) == 4
    assert "train-digits" in keys
    assert all(re.fullmatch(r"[\w.-]+", key) for key in keys)


def test_parameters_of_single_value_do_not_differ() -> None:
    runs = [{"seed": "0", "train.lr": "0.1"}, {"seed": "1", "train.lr": "0.1", "new": "1"}]
    assert differing(runs) == ["seed"]


def test_filter_quotes_a_name_with_an_apostrophe() -> None:
    assert quoted("digits") == "'digits'"
    assert quoted("kid's") == '"kid\'s"'
