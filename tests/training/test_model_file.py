import json
import os
import struct
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save, save_file

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.flow import Glow
from glow_pipeline.flow.coupling import AffineCoupling
from glow_pipeline.images.format import ImageFormat
from glow_pipeline.randomness import generator
from glow_pipeline.training import model_file
from glow_pipeline.training.model_file import (
    FORMAT,
    HEADER_KEY,
    TrainedGlow,
    build_flow,
    read_model,
    read_record,
    write_model,
)
from glow_pipeline.training.records import ModelRecord
from tests.conftest import jittered_glow, model_record, random_images

ARGUMENTS: list[dict[str, Any]] = [
    {},
    {"flow_permutation": "shuffle"},
    {"flow_permutation": "reverse", "flow_coupling": "additive"},
    {"LU_decomposed": True, "actnorm_scale": 0.5},
    {"scale_floor": 0.3},
    {"learn_top": True, "y_condition": True, "num_classes": 3},
]


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    write_model(path, model_record(), jittered_glow().state_dict())
    return path


def one_line_about(path: Path) -> str:
    with pytest.raises(GlowPipelineError) as raised:
        read_model(path)
    message = str(raised.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_model_is_read_with_the_same_bits(tmp_path: Path, arguments: dict[str, Any]) -> None:
    model, record = jittered_glow(**arguments), model_record(**arguments)
    write_model(tmp_path / "model.safetensors", record, model.state_dict())
    again = read_model(tmp_path / "model.safetensors")
    before, after = model.state_dict(), again.flow.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) and before[name].dtype == after[name].dtype for name in before)
    assert again.record == record
    assert not again.flow.training
    assert again.flow.initialized


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_read_model_scores_and_samples_the_same(tmp_path: Path, arguments: dict[str, Any]) -> None:
    # Trained models have the channels last in memory, as `build_flow` lays them out.
    model = jittered_glow(**arguments).to(memory_format=torch.channels_last)
    write_model(tmp_path / "model.safetensors", model_record(**arguments), model.state_dict())
    again = read_model(tmp_path / "model.safetensors").flow
    images = random_images(5) >> 4
    noise = torch.rand(images.shape, generator=torch.Generator().manual_seed(0))
    eps = model.draw_latents(5, torch.Generator().manual_seed(1))
    y = torch.tensor([0, 1, 2, 1, 0])
    with torch.no_grad():
        assert torch.equal(again.log_prob(images, noise), model.log_prob(images, noise))
        assert torch.equal(again.decode(eps, y=y), model.decode(eps, y=y))


def test_record_without_a_floor_means_none(written: Path) -> None:
    assert "scale_floor" not in read_record(written).flow
    floors = {module.scale_floor for module in read_model(written).flow.modules() if isinstance(module, AffineCoupling)}
    assert floors == {0.0}


def test_record_alone_can_be_read(written: Path) -> None:
    assert read_record(written) == model_record()


def test_record_keeps_floats_and_nulls(tmp_path: Path) -> None:
    record = model_record().model_copy(update={"val_bits_per_dim": 0.1 + 0.2, "parameters": {"a": None, "b": [1e-300]}})
    write_model(tmp_path / "model.safetensors", record, {})
    assert read_record(tmp_path / "model.safetensors") == record


def test_untrained_model_is_drawn_from_its_generator() -> None:
    image_format = ImageFormat(channels=1, height=8, width=8, n_bits=4, fit="pad")
    a, b, c = (
        build_flow(image_format, {"K": 1, "L": 1}, generator(seed, "weights")).state_dict() for seed in (0, 0, 1)
    )
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert any(not torch.equal(a[name], c[name]) for name in a)


def test_untrained_model_has_its_format_and_arguments() -> None:
    image_format = ImageFormat(channels=3, height=8, width=16, n_bits=5, fit="pad")
    flow = build_flow(image_format, {"K": 2, "L": 3, "hidden_channels": 5})
    assert isinstance(flow, Glow)
    assert (flow.image_shape, flow.dequantization.n_bits) == ((3, 8, 16), 5)
    assert [len(level.steps) for level in flow.levels] == [2, 2, 2]  # type: ignore[arg-type]  # a ModuleList forgets
    assert flow.get_parameter("levels.0.steps.0.coupling.network.conv1.weight").shape[0] == 5


# Files are written completely -----------------------------------------------------------------


def test_failed_write_keeps_the_former_model(written: Path) -> None:
    resource = pytest.importorskip("resource")  # not on Windows
    before, limit = written.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limit[1]))  # stands in for a full disk
    try:
        with pytest.raises(GlowPipelineError, match=r"model\.safetensors: cannot be written"):
            write_model(written, model_record(), jittered_glow().state_dict())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert written.read_bytes() == before
    assert list(written.parent.iterdir()) == [written]


def test_same_model_is_written_as_same_bytes(written: Path, tmp_path: Path) -> None:
    write_model(tmp_path / "again.safetensors", model_record(), jittered_glow().state_dict())
    assert (tmp_path / "again.safetensors").read_bytes() == written.read_bytes()


# Files that are not ours ----------------------------------------------------------------------


def test_missing_file_is_named(tmp_path: Path) -> None:
    assert "no such file" in one_line_about(tmp_path / "absent.safetensors")


def test_folder_is_not_a_model(tmp_path: Path) -> None:
    one_line_about(tmp_path)


@given(st.floats(0, 1, exclude_max=True))
def test_truncated_model_is_refused(tmp_path_factory: pytest.TempPathFactory, part: float) -> None:
    path = tmp_path_factory.mktemp("cut") / "model.safetensors"
    content = save({"weight": torch.zeros(300)}, metadata={HEADER_KEY: model_record().model_dump_json()})
    path.write_bytes(content[: int(len(content) * part)])
    one_line_about(path)


def test_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    one_line_about(tmp_path / "model.safetensors")


@given(st.binary(max_size=64))
def test_other_bytes_are_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("other") / "model.safetensors"
    path.write_bytes(content)
    one_line_about(path)


def test_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_text("Not a model,\nbut two lines.\n" * 100)
    one_line_about(tmp_path / "model.safetensors")


class Trap:
    """Whoever unpickles it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    path, sprung = tmp_path / "model.safetensors", tmp_path / "sprung"
    torch.save({"state_dict": jittered_glow().state_dict(), "trap": Trap(sprung)}, path)
    one_line_about(path)
    assert not sprung.exists()
    with path.open("rb") as file:
        torch.load(file, weights_only=False)  # the trap works
    assert sprung.exists()


def test_foreign_safetensors_file_is_refused(tmp_path: Path) -> None:
    for metadata in (None, {"format": "pt"}):
        save_file({"weight": torch.zeros(3)}, tmp_path / "theirs.safetensors", metadata=metadata)
        assert "without a glow_pipeline record" in one_line_about(tmp_path / "theirs.safetensors")


def without(key: str) -> str:
    record = model_record().model_dump(mode="json")
    del record[key]
    return json.dumps(record)


@pytest.mark.parametrize("record", ["", "null", "not json", "{}", "[]", without("image_spec"), without("flow")])
def test_unreadable_record_is_refused(tmp_path: Path, record: str) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"weight": torch.zeros(3)}, path, metadata={HEADER_KEY: record})
    assert "record cannot be read" in one_line_about(path)


def test_header_that_promises_gigabytes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", 2**62) + b"{}")
    one_line_about(tmp_path / "model.safetensors")


def other_weights(**arguments: Any) -> dict[str, torch.Tensor]:
    return dict(jittered_glow(**arguments).state_dict())


@pytest.mark.parametrize(
    "weights", [{}, other_weights(hidden_channels=5), other_weights(K=2)], ids=["none", "h5", "K2"]
)
def test_weights_of_another_record_are_refused(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    write_model(tmp_path / "model.safetensors", model_record(), weights)
    one_line_about(tmp_path / "model.safetensors")


@pytest.mark.parametrize("arguments", [{"layers": 3}, {"K": "many"}, {"L": 5}], ids=str)
def test_flow_that_cannot_be_built_is_refused(tmp_path: Path, arguments: dict[str, Any]) -> None:
    write_model(tmp_path / "model.safetensors", model_record(**arguments), other_weights())
    one_line_about(tmp_path / "model.safetensors")


def test_records_are_frozen() -> None:
    record: ModelRecord = model_record()
    with pytest.raises(ValueError, match="frozen"):
        record.epochs = 5  # type: ignore[misc]


def test_header_is_read_without_the_weights(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise AssertionError("a flow was built")

    monkeypatch.setattr(model_file, "build_flow", refuse)
    assert read_record(written).dataset == "tiny"
    with pytest.raises(AssertionError, match="built"):
        read_model(written)


# Formats ---------------------------------------------------------------------------------------


OLD = Path(__file__).parents[1] / "old_formats"


def header_of(path: Path) -> dict[str, Any]:
    with safe_open(path, framework="pt") as file:
        return dict(json.loads(file.metadata()[HEADER_KEY]))


def test_model_remembers_what_it_was_trained_on(tmp_path: Path) -> None:
    path, hashes = tmp_path / "model.safetensors", np.array([-(2**63), -1, 0, 2**63 - 1])
    write_model(path, model_record(), jittered_glow().state_dict(), hashes)
    assert read_model(path).trained_on == pytest.approx(hashes, abs=0)
    assert read_model(path).calibration is None
    assert read_record(path) == model_record()


@pytest.mark.parametrize("calibration", [np.array([-5, 3]), np.empty(0, dtype=np.int64)])
def test_model_remembers_its_calibration_images(tmp_path: Path, calibration: NDArray[np.int64]) -> None:
    path = tmp_path / "model.safetensors"
    write_model(path, model_record(), jittered_glow().state_dict(), np.array([1, 3, 7]), calibration)
    model = read_model(path)
    assert model.calibration is not None
    assert model.calibration.tolist() == calibration.tolist()
    assert model.not_for_testing is not None
    assert model.not_for_testing.tolist() == sorted({1, 3, 7, *calibration.tolist()})


@pytest.mark.parametrize("trained_on", [None, np.array([4, 9])])
def test_unrecorded_images_for_calibration_are_none(trained_on: NDArray[np.int64] | None) -> None:
    assert TrainedGlow(jittered_glow(), model_record(), trained_on).not_for_testing is trained_on


def test_model_of_format_1_still_loads() -> None:
    path = OLD / "model_format_1.safetensors"
    assert "format" not in header_of(path)
    model = read_model(path)
    assert model.trained_on is None, "which is not to be confused with nothing"
    assert (model.record.dataset, model.record.epochs, model.record.test_table) == ("digits", 2, None)
    assert model.record.val_bits_per_dim == 4.358438304028035


def test_model_of_format_2_still_loads() -> None:
    path = OLD / "model_format_2.safetensors"
    assert header_of(path)["format"] == 2
    model = read_model(path)
    assert model.trained_on is not None
    assert len(model.trained_on) == 1500
    assert model.calibration is None
    assert model.record.parts is None
    assert model.record.parameters["ingest"]["calibration_percentage"] == 0.0, "not the present default"
    assert model.record.image_format.key == "1x8x8_4bit_resize"
    assert model.record.train_table.image_selection.key == "digits"


def test_folder_model_of_format_1_gets_current_name() -> None:
    model = read_model(OLD / "folder_model_format_1.safetensors")
    assert model.record.dataset == "folder_pets_class_1"
    assert model.record.train_table.image_selection.path == Path("/pets")


def test_model_of_a_later_format_is_refused(written: Path) -> None:
    assert header_of(written)["format"] == FORMAT
    later = {**header_of(written), "format": FORMAT + 1}
    save_file({}, written, metadata={HEADER_KEY: json.dumps(later)})
    assert one_line_about(written).endswith(
        f"a model of format {FORMAT + 1}, and this version of glow_pipeline reads 1 to {FORMAT}; update it"
    )


def test_unreadable_record_names_its_commit(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({}, path, metadata={HEADER_KEY: json.dumps({"provenance": {"git_commit": "abc123"}})})
    assert one_line_about(path).endswith("commit abc123 wrote it, and reads it")
