"""What needs what, and what that forbids."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glow_pipeline.datasets.housekeeping.needs import Need, find_needs, running, unmet
from glow_pipeline.datasets.housekeeping.stored import Stored, Where
from glow_pipeline.files import sha256
from glow_pipeline.outliers.detector import Detector, DetectorRecord
from glow_pipeline.outliers.detector_file import write_detector
from glow_pipeline.tracking.stored_runs import StoredRun
from glow_pipeline.training.checkpoint_folder import TrainingFolder
from glow_pipeline.training.model_file import MODEL_FILE, write_model
from glow_pipeline.training.stored_detectors import DETECTOR_FILE
from tests.conftest import jittered_glow, model_record

NOW = datetime(2026, 2, 1, tzinfo=UTC)
PATHS = [Path(f"v{i}") for i in range(8)]
NEEDS = st.lists(
    st.builds(Need, st.sampled_from(PATHS), st.one_of(st.none(), st.sampled_from(PATHS)), st.just("")), max_size=20
)
REMOVED = st.sets(st.sampled_from(PATHS))


@given(NEEDS, REMOVED)
def test_what_stays_has_all_that_it_needs(needs: list[Need], removed: set[Path]) -> None:
    allowed = not unmet(removed, needs)
    broken = [need for need in needs if need.used in removed and need.user not in removed]
    assert allowed == (not broken)


@given(NEEDS, REMOVED)
def test_users_may_go_with_what_they_need(needs: list[Need], removed: set[Path]) -> None:
    own = [need for need in needs if need.user is not None]
    closed: set[Where] = set(removed)
    while more := {need.user for need in own if need.used in closed and need.user is not None} - closed:
        closed |= more
    assert unmet(closed, own) == []


@given(NEEDS, REMOVED)
def test_user_alone_may_always_go(needs: list[Need], removed: set[Path]) -> None:
    leaves = removed - {need.used for need in needs}
    assert unmet(leaves, needs) == []


def model(root: Path, version: str, started_from: str | None = None) -> Stored:
    folder = root / MODEL_FILE / version
    record = model_record().model_copy(update={"started_from": started_from})
    write_model(folder / MODEL_FILE, record, jittered_glow(K=1 if started_from is None else 2).state_dict())
    return Stored("glow_model", "version", "tiny", version, folder)


def whys(stored: list[Stored], runs: dict[str, StoredRun] | None = None) -> set[tuple[str, str | None]]:
    versions = {each.path: each.version for each in stored}
    return {
        (versions[need.used], None if need.user is None else versions[need.user])
        for need in find_needs(stored, runs or {}, NOW)
    }


def test_detector_needs_its_model(tmp_path: Path) -> None:
    folder = tmp_path / DETECTOR_FILE / "later"
    write_detector(folder / DETECTOR_FILE, Detector({}, {}, DetectorRecord(model_sha256="", model_session="first")))
    detector = Stored("glow_detector", "version", "tiny", "later", folder)
    assert whys([model(tmp_path, "first"), model(tmp_path, "second"), detector]) == {("first", "later")}


def test_outlier_figures_need_model_detector_and_others(tmp_path: Path) -> None:
    models = [model(tmp_path, name) for name in ("a", "b", "c", "d")]
    folder = tmp_path / "ood_metrics.json" / "z"
    folder.mkdir(parents=True)
    content = {"model_session": "a", "background_model": "b sha256:12", "ensemble_models": ["c sha256:1"]}
    (folder / "ood_metrics.json").write_text(json.dumps(content))
    assert whys([*models, Stored("ood_metrics", "version", "tiny", "z", folder)]) == {
        ("a", "z"),
        ("b", "z"),
        ("c", "z"),
    }


def test_benchmark_needs_every_model_in_its_table(tmp_path: Path) -> None:
    folder = tmp_path / "benchmark.csv" / "z"
    folder.mkdir(parents=True)
    (folder / "benchmark.csv").write_text("model,detector\na,\nb,x\n")
    found = whys([model(tmp_path, "a"), model(tmp_path, "b"), Stored("benchmark_csv", "version", "tiny", "z", folder)])
    assert found == {("a", "z"), ("b", "z")}


def test_model_is_needed_by_what_started_from_it(tmp_path: Path) -> None:
    first = model(tmp_path, "first")
    origin = f"{MODEL_FILE} sha256:{sha256(tmp_path / MODEL_FILE / 'first' / MODEL_FILE)}"
    assert whys([first, model(tmp_path, "second", origin)]) == {("first", "second")}


def test_samples_need_the_model_of_their_run(tmp_path: Path) -> None:
    samples = Stored("samples", "version", "tiny", "s", tmp_path / "s")
    table = Stored("test_images", "version", "tiny", "s", tmp_path / "t")
    run = StoredRun("1", "sample tiny", "FINISHED", stored_model="first")
    assert whys([model(tmp_path, "first"), samples, table], {"s": run}) == {("first", "s")}


def test_registered_and_running_are_needed(tmp_path: Path) -> None:
    stored = [model(tmp_path, "first"), Stored("registered_detector", "version", "tiny", "r", tmp_path / "r")]
    registering = StoredRun("1", "register", "FINISHED", stored_model="first", registered=("tiny version 1",))
    assert {("first", None), ("r", None)} <= whys(stored, {"r": registering})
    assert ("first", None) in whys(stored[:1], {"x": StoredRun("2", "ood", "RUNNING", stored_model="first")})
    assert ("first", None) in whys(stored[:1], {"first": StoredRun("3", "train", "RUNNING")})


def test_unfinished_training_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints" / "abc" / "first"
    training = Stored("checkpoints", "training", "tiny", "first", path)
    folder = TrainingFolder(path)
    assert folder.claim()
    assert running([training]) == [training]
    folder.release()
    assert running([training]) == []
    assert whys([training]) == {("first", None)}
    folder.finish()
    assert whys([training]) == set()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe\x00", b"model\n" + 200_000 * b"\xff"])
@pytest.mark.parametrize("name", ["ood_metrics.json", "benchmark_csv.csv"])
def test_damaged_figures_need_nothing(tmp_path: Path, name: str, content: bytes) -> None:
    folder = tmp_path / name / "z"
    folder.mkdir(parents=True)
    (folder / name).write_bytes(content)
    assert whys([Stored(name.partition(".")[0], "version", "tiny", "z", folder)]) == set()


def test_parts_of_a_table_are_needed_for_a_day(tmp_path: Path) -> None:
    parts = tmp_path / "train" / ".parts-0123-64"
    parts.mkdir(parents=True)
    stored = [Stored("train_images", "parts", "tiny", "parts-0123-64", parts)]
    for hours, needed in ((23, {("parts-0123-64", None)}), (25, set())):
        time = NOW.timestamp() - 3600 * hours
        os.utime(parts, (time, time))
        assert whys(stored) == needed
    other = parts.with_name(".made-with-4567")  # of a command that is at work beside it
    other.mkdir()
    os.utime(other, (NOW.timestamp(), NOW.timestamp()))
    assert whys(stored) == {("parts-0123-64", None)}
