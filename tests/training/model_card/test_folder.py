"""The card in a model's folder."""

import threading
from pathlib import Path

import pytest

from glow_pipeline.training.model_card import ModelCard
from glow_pipeline.training.model_card.folder import RESULTS, TRAINING_FILE, add_detection, read_card, write_card
from glow_pipeline.training.model_card.page import MADE_BY, page_of
from glow_pipeline.training.model_file import MODEL_FILE, write_model
from tests.conftest import jittered_glow, model_record
from tests.training.model_card.test_page import DIGEST, TRAINING, detection

CARD = ModelCard(
    page_of(model_record(), DIGEST, TRAINING, file_sha256="cd" * 32, has_samples=True), b"png", TRAINING, "session"
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / MODEL_FILE / "session" / MODEL_FILE
    write_model(path, model_record(), jittered_glow().state_dict())
    return path


def test_written_card_is_read(model: Path) -> None:
    write_card(model.parent, CARD)
    assert read_card(model.parent) == CARD
    assert MADE_BY in CARD.body
    assert "samples.png" not in CARD.body
    assert not CARD.body.startswith("---")


def test_figures_are_added_to_those_of_the_training(model: Path) -> None:
    write_card(model.parent, CARD)
    card = add_detection(model, detection())
    assert card is not None
    assert card == read_card(model.parent)
    assert "0.7500 (0.5000 to 1.0000)" in card.markdown
    assert "1.5000" in card.markdown
    assert card.samples_png == b"png"


def test_figures_that_came_first_stay(model: Path) -> None:
    add_detection(model, detection())
    write_card(model.parent, CARD)
    page = read_card(model.parent).markdown
    assert "0.7500 (0.5000 to 1.0000)" in page
    assert "1.5000" in page


def test_commands_at_once_lose_no_row(model: Path) -> None:
    names = [f"set{i}" for i in range(8)]
    threads = [
        threading.Thread(target=add_detection, args=(model, detection(f"2026-01-0{i + 1}T0", name)))
        for i, name in enumerate(names)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    page = read_card(model.parent).markdown
    assert [name for name in names if f"| {name} |" not in page] == []
    assert not list(model.parent.glob(".*README*"))


def test_repeated_command_has_one_row(model: Path) -> None:
    add_detection(model, detection())
    card = add_detection(model, detection())
    assert card is not None
    assert card.markdown.count("| textures |") == 1


def test_old_model_gets_a_card(model: Path) -> None:
    card = add_detection(model, detection())
    assert card is not None
    assert card.samples_png is None
    assert "test | not recorded" in card.markdown


def test_model_given_as_a_file_gets_no_card(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "mine.safetensors"
    write_model(path, model_record(), jittered_glow().state_dict())
    (tmp_path / "README.md").write_text("my notes")
    assert add_detection(path, detection()) is None
    assert sorted(file.name for file in tmp_path.iterdir()) == ["README.md", "mine.safetensors"]


def test_edited_card_is_left_alone(model: Path) -> None:
    write_card(model.parent, CARD)
    page = model.with_name("README.md")
    page.write_text(page.read_text().replace(MADE_BY, ""))
    assert add_detection(model, detection()) is None
    assert "0.7500" not in page.read_text()
    assert list((model.parent / RESULTS).glob("ood_*.json"))


def test_unwritable_folder_costs_one_line(
    model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(model.parent))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    assert add_detection(model, detection()) is None
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "\n" not in caplog.messages[0]


def test_damaged_figures_are_left_out(model: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_card(model.parent, CARD)
    (model.parent / RESULTS / TRAINING_FILE).write_text("{")
    card = add_detection(model, detection())
    assert card is not None
    assert card.training is None
    assert "is left out of the model card" in caplog.text
