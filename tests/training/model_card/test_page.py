"""The page of a model card."""

import re
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from glow_pipeline.images.selection import ImageSelection
from glow_pipeline.images.sources.names import printable
from glow_pipeline.training.model_card.card import ModelCard
from glow_pipeline.training.model_card.markdown import code, escaped, fenced
from glow_pipeline.training.model_card.page import page_of
from glow_pipeline.training.model_card.results import DetectionResult, DetectionRow, Samples, TrainingResult
from glow_pipeline.training.records import ModelRecord
from tests.conftest import model_record

DIGEST = "ab" * 32
MARKDOWN = MarkdownIt("commonmark").enable("table")
SAMPLES = Samples(n=16, temperature=0.7, seed=3, not_finite=0)
TRAINING = TrainingResult(
    test_bits_per_dim=1.5, n_test=297, copies={"test_copies_of_train": 2}, weights_sha256=DIGEST, samples=SAMPLES
)


def record(**changes: Any) -> ModelRecord:
    return model_record().model_copy(update=changes)


def detection(session: str = "2026-01-02T03.04.05.678Z", out_set: str = "textures") -> DetectionResult:
    row = DetectionRow(
        out_set=out_set, kind=None, score="nll", n_in=5, n_out=7, auroc=0.75, auroc_low=0.5, auroc_high=1.0,
        fpr_at_95_tpr=0.25,
    )  # fmt: skip
    return DetectionResult(pipeline="ood", session=session, command="kedro run", detector="d", rows=(row,))


def page(training: TrainingResult | None = TRAINING, *detections: DetectionResult, **changes: Any) -> str:
    return page_of(
        record(**changes), DIGEST, training, detections, file_sha256="cd" * 32, has_samples=training is not None
    )


def cells(text: str) -> list[list[str]]:
    """Return the cells of the rows of all tables, as a reader sees them."""
    html = MARKDOWN.render(ModelCard(text, None, None, "").body)
    rows = re.findall(r"<tr>(.*?)</tr>", html, flags=re.DOTALL)
    return [[re.sub("<.*?>", "", cell) for cell in re.findall(r"<td>(.*?)</td>", row, re.DOTALL)] for row in rows]


def test_front_matter_is_yaml_with_licence_and_tags() -> None:
    front = yaml.safe_load(page().split("---\n")[1])
    assert front["license"] == "other"
    assert front["datasets"] == ["tiny"]
    assert {"glow", "normalizing-flow"} <= set(front["tags"])


def test_figures_have_size_bits_and_numbers() -> None:
    text = page()
    assert ["test", "1.5000", "297"] in cells(text)
    assert "All at 1x8x8 and 4 bits" in text
    assert "2 test images are exact copies" in text
    assert "![16 samples](samples.png)" in text
    assert DIGEST in text


def test_outlier_figures_are_newest_first() -> None:
    text = page(TRAINING, detection("2026-01-01T0", "old"), detection("2026-01-03T0", "new"))
    rows = [row for row in cells(text) if "nll" in row]
    assert [row[0] for row in rows] == ["new", "old"]
    assert rows[0][1:] == ["nll", "0.7500 (0.5000 to 1.0000)", "0.2500", "5, 7", "2026-01-03", "kedro run"]


def test_order_of_results_changes_nothing() -> None:
    one, two = detection("2026-01-01T0", "a"), detection("2026-01-03T0", "b")
    assert page(TRAINING, one, two) == page(TRAINING, two, one)


def test_model_of_an_earlier_version_has_a_page() -> None:
    text = page(None)
    assert ["test", "not recorded", "not recorded"] in cells(text)
    assert "There is no picture of samples" in text


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"diverged": True}, "Its training diverged after epoch 1"),
        ({"parameters": {"seed": 0, "train": {"mutation": 0.1}}}, "trained on mutated images"),
        ({"flow": {"y_condition": True}}, "It is conditioned on the class"),
    ],
    ids=["diverged", "mutated", "classes"],
)
def test_limits_name_what_is_wrong(changes: dict[str, Any], sentence: str) -> None:
    assert sentence not in page()
    assert sentence in page(**changes)


def test_values_that_are_not_finite_are_said() -> None:
    training = TrainingResult(
        test_bits_per_dim=float("inf"), n_test=1, copies={}, weights_sha256=DIGEST, samples=SAMPLES
    )
    text = page(training)
    assert ["test", "not finite", "1"] in cells(text)
    assert "overflows on at least one test image" in text


ODD = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(ODD)
def test_escaped_text_is_shown_as_it_is(text: str) -> None:
    shown = MARKDOWN.render(f"x {escaped(text)} x")
    plain = re.sub(r"</?p>", "", shown).strip()
    for entity, character in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&")):
        plain = plain.replace(entity, character)
    assert "".join(plain.split()) == "".join(f"x {printable(text)} x".split())


@given(ODD)
def test_code_stays_in_its_cell(text: str) -> None:
    html = MARKDOWN.render(f"| a | b |\n|---|---|\n| {code(text)} | end |\n")
    assert html.count("<td>") == 2
    assert "<td>end</td>" in html


@given(ODD)
def test_fence_is_not_closed_by_its_content(text: str) -> None:
    html = MARKDOWN.render(f"{fenced(text)}\n\nend")
    assert html.count("<pre>") == 1
    assert html.endswith("<p>end</p>\n")


@given(name=ODD.filter(str.strip))
def test_odd_names_change_nothing_around_them(name: str) -> None:
    selection = ImageSelection(source="folder", name=name)
    table = record().train_table.model_copy(update={"image_selection": selection, "class_names": [name, "b"]})
    odd = page(TRAINING, detection(out_set=name), dataset=name, train_table=table)
    usual = page(
        TRAINING, detection(), train_table=table.model_copy(update={"class_names": ["a", "b"]}), dataset="tiny"
    )
    assert [len(row) for row in cells(odd)] == [len(row) for row in cells(usual)]
    assert yaml.safe_load(odd[4 : odd.index("\n---\n", 4)])["datasets"] == [name]
