"""The parameters that MLflow records of a run."""

from glow_pipeline.hooks.recorded_parameters import StoredModel, model_name, recorded_parameters
from glow_pipeline.parameters import Parameters
from tests.conftest import model_record

TYPED = Parameters.model_validate({"seed": 3, "model": {"K": 4}, "train": {"threads": 2}, "own": {"a": {"b": 1}}})


def test_parameters_are_recorded_by_dotted_names() -> None:
    recorded = recorded_parameters(TYPED, None)
    assert (recorded["seed"], recorded["model.K"], recorded["own.a.b"]) == (3, 4, 1)
    assert recorded["stored_model"] is None
    assert "trained.seed" not in recorded


def test_stored_models_parameters_replace_the_commands() -> None:
    trained_with = Parameters.model_validate({"seed": 1, "model": {"K": 2}, "train": {"threads": 1}}).model_dump()
    record = model_record().model_copy(update={"parameters": trained_with})
    recorded = recorded_parameters(TYPED, StoredModel("2026-01-01", record))
    assert (recorded["model.K"], recorded["stored_model"], recorded["trained.seed"]) == (2, "2026-01-01", 1)
    assert (recorded["seed"], recorded["train.threads"]) == (3, 2), "the command's own"


def test_models_name_follows_from_its_record() -> None:
    assert model_name(model_record()) == "glow-tiny-session"
