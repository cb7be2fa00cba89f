"""Commands that run a part of a pipeline, and the one line where that part cannot run."""

from pathlib import Path

import click
import pytest

from tests.project import TINY_TYPED, copy_project, kedro, kedro_run, run, versions


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_project(tmp_path_factory.mktemp("empty"))


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = copy_project(tmp_path_factory.mktemp("ingested"))
    run(project, "ingest")
    return project


def refusal(project: Path, *arguments: str) -> str:
    """Return the one line with which the command is refused."""
    with pytest.raises(click.ClickException) as error:
        kedro_run(project, *arguments)
    assert "\n" not in error.value.format_message()
    return error.value.format_message()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            "--pipelines train --nodes split_images",
            "test_images and train_images are not stored; let ingest_test_images and ingest_train_images run too, "
            "which make them",
        ),
        (
            "--pipelines train --nodes plot_dequantization",
            "train_images is not stored; let ingest_train_images run too, which makes it",
        ),
        (
            "--from-nodes train_glow --to-outputs glow_model",
            "calibration_images, fit_images, unseen_test_images, untrained_glow and val_images are not stored; let "
            "ingest_train_images, ingest_test_images, split_images and build_glow run too, which make them",
        ),
        (
            "--tags training,ingest --to-nodes evaluate_glow --from-inputs glow_model",
            "exact_copies, train_history and unseen_test_images are not stored; let ingest_train_images, "
            "ingest_test_images, split_images, build_glow and train_glow run too, which make them",
        ),
    ],
    ids=str,
)
def test_missing_inputs_name_all_nodes_to_add(empty: Path, arguments: str, line: str) -> None:
    assert refusal(empty, *arguments.split()) == line


def test_stored_inputs_need_no_node(ingested: Path) -> None:
    line = refusal(ingested, "--from-nodes", "train_glow", "--to-outputs", "glow_model")
    assert line.endswith("; let split_images and build_glow run too, which make them")


def test_input_of_another_version_is_refused(ingested: Path) -> None:
    arguments = ["--pipelines", "train", "--nodes", "split_images", "--load-versions", "train_images:2024"]
    assert refusal(ingested, *arguments) == (
        "no version 2024 of train_images; let ingest_train_images run too, which makes it"
    )


@pytest.mark.parametrize(
    ("env", "rest"),
    [("digist", "did you mean digits?"), ("digits ", "did you mean digits?"), ("xyz", "known are base, ")],
)
def test_unknown_environment_is_refused(empty: Path, env: str, rest: str) -> None:
    assert refusal(empty, "--pipelines", "ingest", "--env", env).startswith(
        f"--env '{env}': no such folder in {empty}/conf; {rest}"
    )


@pytest.mark.parametrize(
    ("version", "line"),
    [
        ("glow_modl:2024", "--load-versions glow_modl:2024: no such dataset; did you mean glow_model?"),
        ("raw_folder:2024", "--load-versions raw_folder:2024: has no versions; "),
    ],
)
def test_version_of_unknown_dataset_is_refused(empty: Path, version: str, line: str) -> None:
    assert refusal(empty, "--pipelines", "sample", "--load-versions", version).startswith(line)


@pytest.mark.parametrize("pipelines", ["train", "ingest,ood,train"])
def test_version_of_own_output_is_refused(digits_project: Path, pipelines: str) -> None:
    """Kedro would measure the old model in place of the new one."""
    (model,) = versions(digits_project, "06_models/digits/glow_model.safetensors/*")
    arguments = ["--pipelines", pipelines, "--load-versions", f"glow_model:{model.name}"]
    assert refusal(digits_project, *arguments).startswith(
        f"--load-versions glow_model:{model.name}: this command makes a new "
    )


@pytest.mark.parametrize(
    ("arguments", "made"),
    [
        ("--tags ingest --to-outputs out_images", "out_images"),
        ("--pipelines ood --tags report", "most_outlying ood_histogram ood_roc"),
        (
            "--pipelines ood --from-inputs glow_model",
            "most_outlying ood_histogram ood_images ood_metrics ood_roc ood_scores",
        ),
        ("--namespaces sample", "samples"),
        ("--nodes plot_dequantization", "dequantized_images"),
        ("--from-nodes split_images,build_glow --to-nodes train_glow", "glow_model"),
    ],
    ids=str,
)
def test_part_of_a_pipeline_runs(
    digits_project: Path, arguments: str, made: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kedro_run(digits_project, *arguments.split(), "--params", TINY_TYPED)
    printed = [line.split()[0] for line in capsys.readouterr().out.splitlines() if " data/" in line]
    assert sorted(printed) == made.split()


@pytest.mark.slow
def test_real_command_runs_a_part(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    trained = kedro(project, "run", "--tags", "ingest,training", "--to-nodes", "train_glow", "--params", TINY_TYPED)
    assert trained.returncode == 0, trained.stderr
    assert versions(project, "06_models/digits/glow_model.safetensors/*/*.safetensors")
    assert not versions(project, "08_reporting/**/*.json")
    refused = kedro(project, "run", "--nodes", "train_glow")
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "let split_images and build_glow run too" in refused.stderr
