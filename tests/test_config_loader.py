"""The order of the folders of conf/, and the one line about an error in a file."""

import logging
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from glow_pipeline.config_loader import ConfigLoader, ConfigurationError, literal
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.settings import CONFIG_LOADER_ARGS
from tests.project import ROOT

PARAMETERS = "parameters.yml"


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """A copy of conf/ without files in conf/local."""
    shutil.copytree(ROOT / "conf", tmp_path / "conf", ignore=lambda folder, names: names if "local" in folder else [])
    return tmp_path / "conf"


def load(conf: Path, key: str = "parameters", env: str | None = None, **runtime_params: Any) -> dict[str, Any]:
    return ConfigLoader(conf, env, runtime_params, **CONFIG_LOADER_ARGS)[key]


def refusal(conf: Path, key: str = "parameters", env: str | None = None) -> str:
    with pytest.raises(ConfigurationError) as error:
        load(conf, key, env)
    assert "\n" not in error.value.message
    return error.value.message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("model:\n\tK: 1\n", ":2: a tab; indent with spaces"),
        ("model:\n  K: 1\nmodel:\n  L: 2\n", ":3: model again, as in line 1; put both together"),
        ("model:\n  K: 1\n  K: 2\n", ":3: K again, as in line 2; put both together"),
        ("- a\n", ":1: a list; expected are names with values, as `seed: 1`"),
        ("ingest:\n  path: /a: b\n", ":2: not valid YAML: mapping values are not allowed here"),
        ("ingest:\n  path: '/a\n", ":3: not valid YAML: found unexpected end of stream"),
        ("seed: *x\n", ":1: not valid YAML: found undefined alias 'x'"),
        ("model:\n  K: 1\x07\n", ":2: character 0x7 is not allowed in YAML; delete it"),
        ("# na\xefve\nmodel:\n  K: 1\n".encode("latin-1"), ":1: byte 0xef is not UTF-8; save the file as UTF-8"),
        ("model:\n  K: 1\n".encode("utf-16"), ": is UTF-16; save it as UTF-8"),
        ("model:\n  K: 1\n".encode("utf-16-be"), ": is UTF-16; save it as UTF-8"),
    ],
)
@pytest.mark.parametrize("name", [PARAMETERS, "mlflow.yml", "catalog.yml"])
def test_error_in_a_file_is_one_line(conf: Path, name: str, content: str | bytes, message: str) -> None:
    (conf / "local" / name).write_bytes(content.encode() if isinstance(content, str) else content)
    assert refusal(conf, name.removesuffix(".yml")).startswith(f"conf/local/{name}{message}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("# x\nmodel.K: 1\n", ":2: model.K: in a file, names stand below their group: `model: {K: 1}`"),
        ("seed: ${oc.env:SEED}\n", ":1: seed: Unsupported interpolation type oc.env; the environment is read in "),
        ("model:\n  K: ${nothing}\n", ":2: model.K: Interpolation key 'nothing' not found; "),
        ("seed: ${no\n", ":1: seed: no viable alternative at input '${no'; "),
    ],
)
def test_error_in_parameters_is_one_line(conf: Path, content: str, message: str) -> None:
    (conf / "local" / PARAMETERS).write_text(content)
    assert refusal(conf).startswith(f"conf/local/parameters.yml{message}")


def test_name_set_in_two_files_is_refused(conf: Path) -> None:
    (conf / "local" / PARAMETERS).write_text("model:\n  L: 1\n")
    (conf / "local" / "parameters_train.yaml").write_text("model: {K: 2, L: 1}\n")
    assert refusal(conf) == (
        "conf/local/parameters_train.yaml:1: model.L is set in conf/local/parameters.yml:2 too; delete one"
    )


def test_two_files_may_share_a_group(conf: Path) -> None:
    (conf / "local" / PARAMETERS).write_text("model:\n  L: 1\n")
    (conf / "local" / "parameters_train.yaml").write_text("model: {K: 2}\n")
    model = load(conf)["model"]
    assert (model["K"], model["L"]) == (2, 1)


def test_dataset_set_in_two_catalogs_is_refused(conf: Path) -> None:
    for name in ("catalog.yml", "catalog_own.yml"):
        (conf / "local" / name).write_text("samples:\n  type: MemoryDataset\n")
    assert "samples is set in conf/local/catalog.yml:1 too" in refusal(conf, "catalog")


@pytest.mark.parametrize("name", ["paramters.yml", "parameters.yml.txt", "parameters.YML", "globals.yaml"])
def test_misspelled_file_name_is_refused(conf: Path, name: str) -> None:
    (conf / "local" / name).write_text("seed: 1\n")
    kind = "globals" if name.startswith("globals") else "parameters"
    assert refusal(conf) == f"conf/local/{name}: is not read; did you mean {kind}.yml?"


@pytest.mark.parametrize("name", ["parameters.yml.bak", "parameters.yml~", "notes.md", ".parameters.yml"])
def test_other_files_are_left_alone(conf: Path, name: str) -> None:
    (conf / "local" / name).write_text("seed: 1\n")
    assert load(conf)["seed"] == 0


def test_link_to_nothing_is_refused(conf: Path) -> None:
    (conf / "local" / PARAMETERS).symlink_to(conf / "nowhere.yml")
    assert refusal(conf).startswith("conf/local/parameters.yml: a link to nothing; ")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_file_without_permission_is_refused(conf: Path) -> None:
    (conf / "local" / PARAMETERS).write_text("seed: 1\n")
    (conf / "local" / PARAMETERS).chmod(0)
    assert refusal(conf) == "conf/local/parameters.yml: Permission denied; make it readable, or move it away"


@pytest.mark.parametrize("content", ["", "# nothing\n", "\ufeffseed: 0\n"])
def test_empty_file_and_byte_order_mark_are_fine(conf: Path, content: str) -> None:
    (conf / "local" / PARAMETERS).write_text(content)
    assert load(conf)["seed"] == 0


@pytest.mark.parametrize("env", [None, "local", "digits", "mnist"])
def test_conf_local_is_read_on_top(conf: Path, env: str | None) -> None:
    (conf / "local" / PARAMETERS).write_text("seed: 7\nmodel: {K: 3}\n")
    (conf / "local" / "mlflow.yml").write_text("enabled: false\n")
    parameters = load(conf, env=env)
    assert (parameters["seed"], parameters["model"]["K"]) == (7, 3)
    assert parameters["dataset"] == ("digits" if env in (None, "local") else env)
    assert load(conf, "mlflow", env)["enabled"] is False


def test_conf_local_gives_catalog_and_credentials_to_presets(conf: Path) -> None:
    (conf / "local" / "catalog.yml").write_text("samples: {type: MemoryDataset}\n")
    (conf / "local" / "credentials.yml").write_text("server: {key: secret}\n")
    assert load(conf, "catalog", "digits")["samples"] == {"type": "MemoryDataset"}
    assert load(conf, "credentials", "digits") == {"server": {"key": "secret"}}


def test_error_in_a_preset_is_one_line(conf: Path) -> None:
    (conf / "digits" / PARAMETERS).write_text("model:\n\tK: 1\n")
    assert refusal(conf, env="digits") == "conf/digits/parameters.yml:2: a tab; indent with spaces"


def test_base_alone_can_be_chosen(conf: Path) -> None:
    (conf / "local" / PARAMETERS).write_text("seed: 7\n")
    assert load(conf, env="base")["seed"] == 0


def test_typed_values_win_over_conf_local(conf: Path) -> None:
    (conf / "local" / PARAMETERS).write_text("seed: 7\n")
    assert load(conf, env="digits", seed=3)["seed"] == 3


def test_batch_size_given_last_counts(conf: Path) -> None:
    """Of the two parameters that give it, wherever each of them is given."""

    def sizes(env: str | None = None, **typed: int) -> tuple[int, int | None]:
        train = ConfigLoader(conf, env, {"train": typed}, **CONFIG_LOADER_ARGS).checked_parameters.train
        return train.batch_size, train.batch_size_per_device

    assert sizes() == (128, None)
    assert sizes("cifar10") == (64, None)
    assert sizes(batch_size_per_device=16) == (128, 16)
    assert sizes("cifar10", batch_size_per_device=16) == (64, 16)
    (conf / "local" / PARAMETERS).write_text("train:\n  batch_size_per_device: 8\n")
    assert sizes("cifar10") == (64, 8)
    assert sizes(batch_size=256) == (256, None)
    with pytest.raises(GlowPipelineError, match=r"^train\.batch_size_per_device=16: train\.batch_size=32 is given"):
        sizes(batch_size=32, batch_size_per_device=16)
    (conf / "local" / PARAMETERS).write_text("train:\n  batch_size_per_device: 8\n  batch_size: 100\n")
    with pytest.raises(GlowPipelineError, match=r"^train\.batch_size_per_device=8: train\.batch_size=100 is given"):
        sizes("cifar10")
    assert sizes(batch_size=256) == (256, None)
    (conf / "base" / "parameters_train.yml").write_text("train:\n  batch_size: 128\n  batch_size_per_device: 4\n")
    (conf / "local" / PARAMETERS).unlink()
    assert sizes() == (128, 4)
    assert sizes("cifar10") == (64, None)


def test_replaced_values_of_a_preset_are_reported(conf: Path, caplog: pytest.LogCaptureFixture) -> None:
    (conf / "local" / PARAMETERS).write_text("dataset: mnist\nseed: 7\n")
    with caplog.at_level(logging.INFO, logger="glow_pipeline"):
        loader = ConfigLoader(conf, "digits", {}, **CONFIG_LOADER_ARGS)
        loader["parameters"], loader["parameters"]
    assert caplog.messages == ["conf/local takes precedence over --env digits: dataset=mnist (not digits)"]


def test_deleted_conf_local_is_an_empty_one(conf: Path) -> None:
    shutil.rmtree(conf / "local")
    assert load(conf)["seed"] == 0
    assert load(conf, env="digits")["dataset"] == "digits"


def test_configuration_is_read_from_an_archive(conf: Path) -> None:
    (conf / "local" / ".gitkeep").touch()
    archive = shutil.make_archive(str(conf.parent / "packed"), "gztar", conf.parent, "conf")
    assert load(Path(archive), env="mnist")["dataset"] == "mnist"
    assert "did you mean mnist?" in refusal(Path(archive), env="mnits")


@given(st.text(alphabet="${}\\a b#:,?", max_size=12))
def test_escaped_text_comes_back_as_it_was(text: str) -> None:
    read = OmegaConf.to_container(OmegaConf.create({"a": literal(text)}), resolve=True)
    assert read == {"a": text}


def test_typed_dollar_brace_is_a_value(conf: Path) -> None:
    for text in ("/x${y", "/x${y}", "\\${a}"):
        assert load(conf, env="digits", ingest={"path": text})["ingest"]["path"] == text


def test_catalogs_of_two_threads_keep_their_names() -> None:
    def paths_of(dataset: str) -> set[str]:
        loader = ConfigLoader(str(ROOT / "conf"), "base", {"dataset": dataset}, base_env="base")
        return {loader["catalog"]["checkpoints"]["filepath"] for _ in range(10)}

    with ThreadPoolExecutor(2) as threads:
        digits, textures = threads.map(paths_of, ("digits", "textures"))
    assert digits == {"data/06_models/digits/checkpoints"}
    assert textures == {"data/06_models/textures/checkpoints"}


def test_credentials_read_the_environment_under_a_preset(conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "word")
    (conf / "local" / "credentials.yml").write_text("s3:\n  key: ${oc.env:SECRET}\n")
    assert load(conf, "credentials", env="digits") == {"s3": {"key": "word"}}


@pytest.mark.parametrize("typed", ["010", "1:36", "-1:30", "0_7"])
def test_number_that_yaml_reads_otherwise_is_refused(conf: Path, typed: str) -> None:
    (conf / "local" / PARAMETERS).write_text(f"model:\n  L: 2\ningest:\n  size: [16, {typed}]\n")
    with pytest.raises(ConfigurationError, match=rf"local/{PARAMETERS}:4: ingest\.size: {typed} is another number"):
        load(conf)


@pytest.mark.parametrize("typed", ["0", "10", "0.5", "1e-3", "-3", '"010"', "0-4"])
def test_usual_numbers_are_read(conf: Path, typed: str) -> None:
    (conf / "local" / PARAMETERS).write_text(f"own:\n  a: {typed}\n")
    assert load(conf)["own"]["a"] is not None
