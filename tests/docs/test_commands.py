"""Every command in README.md and docs/ is tested: run, or started, or its test or the reason for none is in covered.py.

A `kedro run` is started on digits with a stored model, up to its first node: by then every option, parameter, file,
model and detector has been checked. Those that take a second or two run to their end.
"""

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import click
import pytest
from _pytest.mark.structures import ParameterSet

from tests.docs.commands import Command, commands
from tests.docs.covered import REASONS, TESTS
from tests.docs.typed import Started, arguments, filled, is_kedro_run, model_of, on_digits, pipelines
from tests.project import ROOT, TINY_TYPED, kedro_run, versions

OTHERS = {**TESTS, **REASONS}
KEDRO = [command for command in commands() if is_kedro_run(command) and command.text not in OTHERS]
REST = [command for command in commands() if not is_kedro_run(command) and command.text not in OTHERS]
TINY = dict(pair.split("=") for pair in TINY_TYPED.split(","))
# Documents whose commands others resemble: tests/pipelines has one of each sampling mode.
SLOW = (
    "docs/results/",
    "docs/clusters.md",
    "docs/sampling.md",
    "docs/outliers.md",
    "docs/processes.md",
    "docs/datasets.md",
)
RUN_TO_THE_END = {"sample", "register"}
SCORED = "kedro run --pipelines score --params dataset=fashionmnist,score.images=~/clothes,score.false_alarm_rate=0.01"
TRAINED = (
    "kedro run --pipelines train --params dataset=folder,ingest.path=~/xrays/normal,ingest.size=64,ingest.channels=1"
)
SEARCH = "kedro run --pipelines search --env digits --params search.n_trials=50,train.n_epochs=20"


def typed(command: Command, project: Path) -> list[str]:
    """Return the arguments of a `kedro run` with what it leaves open filled in."""
    found = arguments(filled(command, model_of(project)))
    assert found is not None
    return found


def runs(command: Command) -> bool:
    return command.text == SCORED or pipelines(arguments(command) or []) <= RUN_TO_THE_END


def cases(chosen: Sequence[Command]) -> list[ParameterSet]:
    """Return parameters of a test, each named by its command; those of `SLOW` documents are slow tests."""
    return [
        pytest.param(each, id=str(each), marks=[pytest.mark.slow] if each.document.startswith(SLOW) else [])
        for each in chosen
    ]


@pytest.mark.parametrize("command", cases([each for each in KEDRO if not runs(each) and not each.printed]))
def test_command_starts_on_digits(project: Path, starting_only: None, command: Command) -> None:
    with pytest.raises(Started):
        kedro_run(project, *on_digits(typed(command, project)))


@pytest.mark.parametrize("command", [each for each in KEDRO if each.printed.startswith("Error: ")], ids=str)
def test_command_is_refused_as_documented(project: Path, starting_only: None, command: Command) -> None:
    with pytest.raises(click.ClickException) as refusal:
        kedro_run(project, *typed(command, project))
    assert f"Error: {refusal.value.format_message()}" == command.printed


@pytest.mark.parametrize("command", cases([each for each in KEDRO if runs(each) and not each.printed]))
def test_command_runs_on_digits(project: Path, command: Command) -> None:
    before = len(versions(project, "0[678]_*/**/*.*"))
    kedro_run(project, *on_digits(typed(command, project)))
    assert len(versions(project, "0[678]_*/**/*.*")) > before


@pytest.mark.slow
def test_folder_is_trained_on_sampled_and_scored(project: Path) -> None:
    """The page howto/own-images.md."""
    others = ("out_path", "workers.engine", "train.stage")  # of other pages
    page = [
        each for each in commands() if "~/xrays/normal" in each.text and not any(other in each.text for other in others)
    ]
    assert [each.text for each in page if "train" in each.text] == [TRAINED]
    for command in page:
        tiny = TINY if "train" in pipelines(typed(command, project)) else {}
        kedro_run(project, *on_digits(typed(command, project), **tiny))
    assert model_of(project, "folder_normal").exists()


@pytest.mark.slow
def test_search_is_trained_with_its_best_parameters(project: Path) -> None:
    """The page howto/search.md."""
    assert SEARCH in {each.text for each in commands()}
    search = on_digits(SEARCH.split()[2:], **TINY, **{"search.n_trials": 1, "search.ranges.model.K": "null"})
    kedro_run(project, *search)
    (project / "conf" / "best").mkdir()
    best = versions(project, "08_reporting/digits/best_parameters.yml/*/*.yml")[-1]
    shutil.copy(best, project / "conf" / "best" / "parameters.yml")
    before = model_of(project)
    kedro_run(project, "--env", "best", "--pipelines", "train")
    assert model_of(project) != before


@pytest.mark.parametrize("command", [each for each in REST if each.words[0] == "make"], ids=str)
def test_make_knows_the_target(command: Command) -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    done = subprocess.run(["make", "-n", *command.words[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", [each for each in REST if each.words[0] != "make"], ids=str)
def test_script_or_test_has_the_options(command: Command) -> None:
    """Measurements take minutes to hours and some need a GPU: that they can be typed is all that is tested."""
    words = [word for word in command.words if word != "python"]
    if words[0] == "pytest":
        markers = re.findall(r"-m (\w+)", command.text)
        assert set(markers) <= {"slow", "gpu"}
        files = [word for word in words if word.startswith("tests/")]
        assert markers or files
        assert [file for file in files if not (ROOT / file).exists()] == []
    else:
        assert words[0].startswith("benchmarks/"), f"{command}: add its test, or the reason for none, to covered.py"
        text = (ROOT / words[0]).read_text()
        assert [word for word in words[1:] if word.startswith("--") and f'"{word}"' not in text] == []


def test_named_tests_exist_and_commands_are_documented() -> None:
    written = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert [test for test in TESTS.values() if f"def {test}(" not in written] == []
    assert [text for text in OTHERS if text not in {each.text for each in commands()}] == []
