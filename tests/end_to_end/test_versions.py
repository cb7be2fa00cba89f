"""`kedro versions` on a project in which the digits were trained, sampled and scored."""

from contextlib import chdir
from pathlib import Path

import click
import mlflow
import pytest

from glow_pipeline.cli import versions
from glow_pipeline.training.checkpoint_folder import TrainingFolder
from tests.project import bootstrap, files_below, kedro, kedro_run
from tests.project import versions as stored

MODELS = "06_models/digits/glow_model.safetensors/*/*.safetensors"
QUICK = "ood.scores=nll,ood.bootstrap=0"


def typed(project: Path, *arguments: str) -> None:
    bootstrap()
    with chdir(project):
        versions.main(list(arguments), prog_name="kedro versions", standalone_mode=False)


def runs(project: Path) -> int:
    client = mlflow.MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    experiments = [each.experiment_id for each in client.search_experiments()]
    return len(client.search_runs(experiments, run_view_type=mlflow.entities.ViewType.ALL))


def test_listing_names_sizes_runs_and_changes_nothing(digits_project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files_below(digits_project / "data")
    (model,) = stored(digits_project, MODELS)
    typed(digits_project)
    printed = capsys.readouterr().out
    assert f"{model.parent.name}  digits" in printed
    assert "(FINISHED)" in printed
    assert files_below(digits_project / "data") == before


def test_model_that_results_need_is_refused(digits_project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (model,) = stored(digits_project, MODELS)
    version = model.parent.name
    kedro_run(digits_project, "--env", "digits", "--pipelines", "ood", "--params", QUICK)
    with pytest.raises(click.ClickException) as refused:
        typed(digits_project, "--remove", version, "--yes")
    assert "\n" not in refused.value.format_message()
    assert f"Needed: glow_model of digits {version}: " in capsys.readouterr().out
    assert model.is_file()
    typed(digits_project, "--remove", version, "--yes", "--force")
    assert not model.exists()
    assert stored(digits_project, "08_reporting/digits/vs_textures/ood_metrics.json/*/*")  # of the second command


def test_removed_version_takes_its_run_and_artifacts(digits_project: Path, finished_digits: Path) -> None:
    untouched = files_below(finished_digits / "mlartifacts")
    typed(digits_project, "--remove", "all", "--yes")
    left = [path.name for path in files_below(digits_project / "data")]
    assert [name for name in left if name not in (".lock", "lock")] == []
    assert files_below(digits_project / "mlartifacts") == []
    assert runs(digits_project) == 0
    assert files_below(finished_digits / "mlartifacts") == untouched
    kedro_run(digits_project, "--env", "digits", "--pipelines", "ingest")


def test_without_yes_nothing_is_removed(digits_project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files_below(digits_project / "data")
    typed(digits_project, "--remove", "all")
    assert "Nothing was removed; --yes removes" in capsys.readouterr().out
    assert files_below(digits_project / "data") == before


def test_running_training_is_never_removed(digits_project: Path) -> None:
    before = files_below(digits_project / "data")
    (checkpoints,) = stored(digits_project, "06_models/digits/checkpoints/*/*")
    folder = TrainingFolder(checkpoints)
    assert folder.claim()
    for entry in ("checkpoints", "train_images"):
        with pytest.raises(click.ClickException) as refused:
            typed(digits_project, "--remove", "all", "--entry", entry, "--yes", "--force")
        assert "a training runs at this moment" in refused.value.format_message()
    folder.release()
    assert files_below(digits_project / "data") == before


def test_documented_commands_are_understood(digits_project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (model,) = stored(digits_project, MODELS)
    (checkpoints,) = stored(digits_project, "06_models/digits/checkpoints/*/*")
    for arguments in (
        "",
        f"--remove {model.parent.name[:13]}",
        "--remove all --dataset digits --keep 3 --older-than 30d",
        "--remove all --dataset digits",
        "--remove all --keep 3",
        "--remove all --entry checkpoints",
    ):
        typed(digits_project, *arguments.split())
        assert model.exists()
        assert checkpoints.exists()
    typed(digits_project, "--remove", "all", "--entry", "checkpoints", "--yes")
    assert model.exists()
    assert not checkpoints.exists()
    assert "Removed 1 stored folder; " in capsys.readouterr().out


@pytest.mark.slow
def test_command_in_a_process_of_its_own(digits_project: Path) -> None:
    done = kedro(digits_project, "versions", "--remove", "all", "--yes")
    assert done.returncode == 0, done.stderr
    assert stored(digits_project, MODELS) == []
    assert "Nothing is stored." in kedro(digits_project, "versions").stdout


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--remove", "2000", "--yes"], "--remove 2000: no stored version begins so"),
        (["--dataset", "digit"], "--dataset digit: nothing of it is stored; there is digits"),
        (["--entry", "model"], "--entry model: nothing of it is stored"),
        (["--older-than", "3"], "--older-than 3: should be days or hours"),
        (["--yes"], "--keep, --yes and --force: they belong to --remove"),
    ],
)
def test_errors_are_one_line(digits_project: Path, arguments: list[str], line: str) -> None:
    with pytest.raises(click.ClickException) as refused:
        typed(digits_project, *arguments)
    assert refused.value.format_message().startswith(line)
    assert "\n" not in refused.value.format_message()
