"""A search that is killed, and typed again."""

import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from tests.project import copy_project, kedro, versions

TYPED = (
    "search.n_trials=6,search.ranges.model.K.low=1,search.ranges.model.K.high=2,search.ranges.model.K.step=1,"
    "search.ranges.model.hidden_channels=null,model.L=2,model.hidden_channels=4,train.n_epochs=20,device=cpu"
)
COMMAND = ["run", "--pipeline", "search", "--params", TYPED]


def trials(project: Path) -> list[tuple[int, str, int]]:
    """Return number, state and reported epochs of the trials in the study's database."""
    file = project / "data" / "06_models" / "optuna.db"
    if not file.exists():
        return []
    with sqlite3.connect(file, timeout=60) as database:
        try:
            found: list[tuple[int, str, int]] = database.execute(
                "select number, state, count(step) from trials left join trial_intermediate_values using (trial_id) "
                "group by number order by number"
            ).fetchall()
        except sqlite3.OperationalError:  # no tables yet
            return []
        return found


@pytest.mark.slow
def test_killed_search_finishes_its_trials(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    process = subprocess.Popen([sys.executable, "-m", "kedro", *COMMAND], cwd=project, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 200
    while (
        not any(number == 2 and epochs for number, _, epochs in trials(project))
        and process.poll() is None
        and time.monotonic() < deadline
    ):
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert [state for _, state, _ in trials(project)] == ["COMPLETE", "COMPLETE", "RUNNING"]

    again = kedro(project, *COMMAND)
    assert again.returncode == 0, again.stdout + again.stderr
    (file,) = versions(project, "08_reporting/digits/search_results.parquet/*/*")
    table = pd.read_parquet(file).set_index("number")
    assert table["state"].isin(["complete", "pruned"]).sum() == 6
    assert table["state"][2] == "fail"
    (repeated,) = table.index[table["retry_of"] == 2]
    assert table["state"][repeated] in ("complete", "pruned")
    assert (table.loc[repeated, ["model.K", "train.lr"]] == table.loc[2, ["model.K", "train.lr"]]).all()
    with sqlite3.connect(project / "mlflow.db") as database:
        runs = dict(database.execute("select name, status from runs where name like 'trial %'").fetchall())
    assert runs == {f"trial {number}": "KILLED" if number == 2 else "FINISHED" for number in table.index}

    done = kedro(project, *COMMAND)
    assert done.returncode == 0, done.stderr
    assert len(trials(project)) == 7
