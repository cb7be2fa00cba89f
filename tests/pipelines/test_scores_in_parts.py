"""`kedro run` of `ood` and `benchmark`, killed, shared by processes and by commands: always the same scores."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import click
import pandas as pd
import pytest

from tests.hooks.helpers import inputs_of, runs
from tests.processes import comes
from tests.project import kedro_run, versions

PARAMS = "ood.score=nll,ood.scores=nll+typicality,ood.bootstrap=20,ood.batch_size=8,train.threads=1"
PARTS = "07_model_output/digits/ood_progress/*/*.parquet"
CLAIMS = "07_model_output/digits/ood_progress/continues-*"
SCORES = "07_model_output/digits/vs_textures/ood_scores.parquet/*/*"

pytestmark = pytest.mark.slow


def start(project: Path, more: str, pipeline: str = "ood", **environment: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "kedro", "run", "--pipelines", pipeline, "--params", f"{PARAMS},{more}"]
    return subprocess.Popen(
        command,
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **environment},
    )


def printed(project: Path, more: str, pipeline: str = "ood", **environment: str) -> str:
    process = start(project, more, pipeline, **environment)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    return " ".join(output.split())


def scores(project: Path) -> pd.DataFrame:
    """Return the newest table of scores; none is left."""
    path = versions(project, SCORES)[-1]
    table = pd.read_parquet(path)
    for each in versions(project, SCORES):
        each.unlink()
    return table


@pytest.fixture
def in_one_pass(digits_project: Path) -> pd.DataFrame:
    printed(digits_project, "ood.devices=1")
    assert not versions(digits_project, PARTS)
    return scores(digits_project)


def test_killed_command_scores_only_the_rest(digits_project: Path, in_one_pass: pd.DataFrame) -> None:
    process = start(digits_project, "workers.part_images=8")
    assert comes(lambda: len(versions(digits_project, PARTS)) > 60, seconds=120)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = {path: path.stat().st_mtime_ns for path in versions(digits_project, PARTS)}
    assert len(before) < 115, "38 parts of 297 images and 77 of 612"
    assert not versions(digits_project, SCORES)
    output = printed(digits_project, "workers.part_images=8")
    done = sum(len(pd.read_parquet(path)) for path in before)
    assert f"{done} of 909 images were scored before" in output
    assert all(path.stat().st_mtime_ns == modified for path, modified in before.items())
    pd.testing.assert_frame_equal(scores(digits_project), in_one_pass, check_exact=True)


def test_two_processes_give_the_same_bits(digits_project: Path, in_one_pass: pd.DataFrame) -> None:
    printed(digits_project, "ood.devices=2,workers.part_images=24,device=cpu")
    assert len(versions(digits_project, PARTS)) == 13 + 26
    pd.testing.assert_frame_equal(scores(digits_project), in_one_pass, check_exact=True)


def test_killed_command_of_an_array_is_typed_again(digits_project: Path, in_one_pass: pd.DataFrame) -> None:
    array = "workers.engine=array,workers.of=3,workers.part_images=8"
    commands = [start(digits_project, array, NODE_RANK=str(rank)) for rank in range(3)]
    assert comes(lambda: len(versions(digits_project, PARTS)) > 10, seconds=120)
    commands[1].send_signal(signal.SIGKILL)
    outputs = [" ".join(command.communicate()[0].split()) for command in commands]
    assert [command.returncode for command in commands] == [0, -signal.SIGKILL, 0], outputs
    assert all("This machine has helped" in outputs[rank] for rank in (0, 2))
    assert not versions(digits_project, SCORES)
    printed(digits_project, array, NODE_RANK="1")
    pd.testing.assert_frame_equal(scores(digits_project), in_one_pass, check_exact=True)


def test_command_killed_after_the_scores_is_typed_again(digits_project: Path, in_one_pass: pd.DataFrame) -> None:
    recorded = len(runs(digits_project))
    array = "workers.engine=array,workers.of=2,workers.part_images=64"
    assert "This machine has helped: its share" in printed(digits_project, array, NODE_RANK="1")
    killed = start(digits_project, array, NODE_RANK="0")
    assert comes(lambda: versions(digits_project, CLAIMS), seconds=120)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert not versions(digits_project, SCORES)
    output = printed(digits_project, array, NODE_RANK="1")
    assert "all parts of score digits and textures are stored, and the command with the number 0 of 0 to 1" in output
    assert not versions(digits_project, SCORES)
    printed(digits_project, array, NODE_RANK="0")
    pd.testing.assert_frame_equal(scores(digits_project), in_one_pass, check_exact=True)
    newest, *others = runs(digits_project)[: len(runs(digits_project)) - recorded]
    assert newest.info.status == "FINISHED"
    assert {"test_images", "out_images"} <= inputs_of(newest).keys()
    assert all(run.info.status == "RUNNING" for run in others), "of the killed one, if it had begun"


def test_benchmark_is_shared_by_an_array(digits_project: Path) -> None:
    typed = "benchmark.out_datasets=blur+noise+textures"
    alone = shutil.copytree(digits_project, digits_project.with_name("alone"))
    printed(alone, typed, pipeline="benchmark")
    array = f"{typed},workers.engine=array,workers.of=2,workers.part_images=64"
    assert "This machine has helped" in printed(digits_project, array, pipeline="benchmark", NODE_RANK="1")
    assert not versions(digits_project, "07_model_output/digits/benchmark/*/*.parquet")
    printed(digits_project, array, pipeline="benchmark", NODE_RANK="0")
    again = printed(digits_project, array, pipeline="benchmark", NODE_RANK="1")
    assert "all parts of the benchmark are stored, and the command with the number 0 of 0 to 1 continues" in again
    assert versions(digits_project, "07_model_output/digits/benchmark/*/parts/*/*"), "another command may read them now"
    shared, own = (
        pd.read_parquet(versions(project, "08_reporting/digits/benchmark.parquet/*/*")[-1])
        for project in (digits_project, alone)
    )
    pd.testing.assert_frame_equal(shared, own, check_exact=True)


def test_command_without_a_place_is_refused_first(finished_digits: Path) -> None:
    before = versions(finished_digits, "*/digits/*")
    with pytest.raises(click.ClickException, match=r"workers\.of=2: none of .* says which of them this is"):
        kedro_run(finished_digits, "--pipelines", "ood", "--params", f"{PARAMS},workers.engine=array,workers.of=2")
    assert versions(finished_digits, "*/digits/*") == before
