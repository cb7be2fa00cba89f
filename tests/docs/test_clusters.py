"""The recipes of docs/clusters.md: each is parsed, its command is taken as its launcher would give it, and started."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import pytest
import yaml
from markdown_it import MarkdownIt

from glow_pipeline import launchers
from glow_pipeline.launchers import COMMANDS, place_of
from glow_pipeline.parameters import Parameters, parse_parameters
from glow_pipeline.parameters.command_line import parse_typed
from glow_pipeline.training.distributed.machines import machine_rank, meeting_point
from tests.docs.typed import Started, on_digits
from tests.project import ROOT, kedro_run

PAGE = ROOT / "docs" / "clusters.md"
NAME = re.compile(r"^# ([\w-]+\.(?:sbatch|yaml|py))$", re.MULTILINE)
# What the recipes name, and what is there in tests.
PLACES = {
    r"/(?:shared|glow/data|Volumes/main/glow)/xrays": "~/xrays/normal",
    "/shared/new": "~/new",
    r"train\.stage=[^,]+": "train.stage=~/stage",
}
# Programs of a machine of a cluster: `kedro` writes down how it was called.
PROGRAMS = {
    "kedro": f"""#!{sys.executable}
import json, os, sys
with open("called.json", "w") as file:
    json.dump([sys.argv[1:], dict(os.environ)], file)
""",
    "srun": '#!/bin/bash\nwhile [[ $1 == -* ]]; do shift; done\nexec "$@"\n',
    "scontrol": "#!/bin/bash\nprintf 'gpu1\\ngpu2\\n'\n",
}


@dataclass
class Called:
    """A `kedro` command of a recipe, on one of its machines.

    Attributes:
        arguments: after `kedro`.
        environment: variables that its launcher or recipe sets.
    """

    arguments: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def parameters(self) -> Parameters:
        """The parameters, as the command reads them."""
        assert self.arguments[:2] == ["run", "--pipelines"]
        assert self.arguments[3] == "--params"
        return parse_parameters(parse_typed(self.arguments[4:]))


def recipes() -> dict[str, str]:
    """Return the files of the page by name."""
    tokens = MarkdownIt("commonmark").parse(PAGE.read_text(encoding="utf-8"))
    blocks = [token.content for token in tokens if token.type == "fence" and token.info in ("slurm", "yaml", "py")]
    named = {found[1]: block for block in blocks if (found := NAME.search(block)) is not None}
    assert len(named) == len(blocks), "each block is a file with a name"
    return named


def run_script(text: str, folder: Path, **variables: str) -> Called:
    """Run a script of bash as the launcher that sets these variables does."""
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "activate").touch()
    for name, program in PROGRAMS.items():
        (folder / name).write_text(program)
        (folder / name).chmod(0o755)
    (folder / "script").write_text(text)
    subprocess.run(["bash", "-n", "script"], cwd=folder, check=True)
    clean = {name: value for name, value in os.environ.items() if name not in launchers.NAMES}
    environment = {**clean, "PATH": f"{folder}:{clean['PATH']}", **variables}
    subprocess.run(["bash", "-e", "script"], cwd=folder, env=environment, check=True)
    arguments, seen = json.loads((folder / "called.json").read_text())
    return Called(arguments, {name: seen[name] for name in (*launchers.NAMES, "CUDA_VISIBLE_DEVICES") if name in seen})


def slurm(name: str, folder: Path, **variables: str) -> Called:
    text = recipes()[name]
    assert text.startswith("#!/bin/bash\n")
    return run_script(text, folder, **variables)


def array_task(name: str, folder: Path) -> Called:
    """Return the command of the last task of an array."""
    found = re.search(r"--array=0-(\d+)", recipes()[name])
    assert found is not None
    last = int(found[1])
    numbers = {"ID": last, "COUNT": last + 1, "MIN": 0}
    variables = {f"SLURM_ARRAY_TASK_{key}": str(number) for key, number in numbers.items()}
    return slurm(name, folder, **variables, SLURM_NODEID="0", SLURM_PROCID="0", SLURM_NTASKS="1")


def pod(name: str) -> Called:
    """Return the command of the last pod of an Indexed Job."""
    loaded = yaml.safe_load(recipes()[name])
    spec = loaded["spec"]
    if loaded["kind"] == "JobSet":
        spec = spec["replicatedJobs"][0]["template"]["spec"]
    assert spec["completionMode"] == "Indexed"
    of_pod = spec["template"]["spec"]
    container = of_pod["containers"][0]
    assert of_pod["restartPolicy"] == "Never"
    volumes = {volume["name"] for volume in of_pod["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    called = [*container["command"], *container["args"]]
    assert called[0] == "kedro"
    environment = {each["name"]: each["value"] for each in container.get("env", [])}
    return Called(called[1:], environment | {"JOB_COMPLETION_INDEX": str(spec["completions"] - 1)})


def sky(name: str, folder: Path) -> Called:
    """Return the command of the last machine."""
    loaded = yaml.safe_load(recipes()[name])
    assert "install" in (ROOT / "Makefile").read_text()
    assert loaded["setup"] == "make install"
    n = loaded["num_nodes"]
    addresses = "\n".join(f"10.0.0.{4 + number}" for number in range(n))
    variables = {"RANK": str(n - 1), "IPS": addresses}
    return run_script(
        loaded["run"],
        folder,
        SKYPILOT_NUM_NODES=str(n),
        **{f"SKYPILOT_NODE_{key}": value for key, value in variables.items()},
    )


def ray_job() -> Called:
    loaded = yaml.safe_load(recipes()["ray-job.yaml"])
    cluster = loaded["spec"]["rayClusterSpec"]
    head, workers = cluster["headGroupSpec"], cluster["workerGroupSpecs"][0]
    assert head["template"] == workers["template"], "the project is in all pods"
    return Called(shlex.split(loaded["spec"]["entrypoint"])[1:])


def executed(name: str, **modules: Mapping[str, Any]) -> dict[str, Any]:
    """Execute a file of Python with stand-ins for the modules that it imports; return its variables."""
    with pytest.MonkeyPatch.context() as patch:
        for path, content in modules.items():
            module = ModuleType(path)
            vars(module).update(content)
            patch.setitem(sys.modules, path, module)
        variables: dict[str, Any] = {}
        exec(compile(recipes()[name], name, "exec"), variables)
    return variables


class FakeOperator:
    """Keeps what Airflow's BashOperator takes."""

    def __init__(self, *, task_id: str, bash_command: str) -> None:
        self.task_id, self.bash_command = task_id, bash_command
        self.env: list[dict[str, str]] = [{}]
        self.after: list[str] = []

    @classmethod
    def partial(cls, *, task_id: str, bash_command: str) -> Self:
        return cls(task_id=task_id, bash_command=bash_command)

    def expand(self, env: list[dict[str, str]]) -> Self:
        self.env = env
        return self

    def __rshift__(self, other: Self) -> Self:
        other.after.append(self.task_id)
        return other


class FakeDag:
    """Takes what Airflow's DAG takes."""

    def __init__(self, _name: str, *, schedule: None, default_args: dict[str, Any]) -> None:
        assert {"retries", "cwd", "append_env"} == set(default_args)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...


def airflow(task: str) -> Called:
    modules = {"airflow.providers.standard.operators.bash": {"BashOperator": FakeOperator}}
    variables = executed("my_dag.py", **modules, **{"airflow.sdk": {"DAG": FakeDag}})
    operator = variables[task]
    assert variables["train"].after == ["ingest"]
    return Called(shlex.split(operator.bash_command)[1:], operator.env[-1])


def databricks() -> Called:
    called = []
    spark = {"setup_ray_cluster": lambda **_: None, "shutdown_ray_cluster": lambda: None}
    fake = {"run": lambda words, **_: called.append(words)}
    executed("my_ray.py", subprocess=fake, **{"ray.util.spark": spark})
    return Called(called[0][1:])


Recipe = Callable[[Path], Called]
SHARES: dict[str, tuple[Recipe, tuple[int, int]]] = {
    "ingest.sbatch": (lambda folder: array_task("ingest.sbatch", folder), (63, 64)),
    "score.sbatch": (lambda folder: array_task("score.sbatch", folder), (15, 16)),
    "ingest-job.yaml": (lambda _: pod("ingest-job.yaml"), (63, 64)),
    "my_dag.py": (lambda _: airflow("ingest"), (15, 16)),
    "sky_ingest.yaml": (lambda folder: sky("sky_ingest.yaml", folder), (7, 8)),
}
TRAININGS: dict[str, tuple[Recipe, str]] = {
    "train.sbatch": (
        lambda folder: slurm("train.sbatch", folder, SLURM_NNODES="2", SLURM_NODEID="1", SLURM_JOB_NODELIST="gpu[1-2]"),
        "gpu1:29500",
    ),
    "train-jobset.yaml": (lambda _: pod("train-jobset.yaml"), "glow-train-workers-0-0.glow-train:29500"),
    "sky_train.yaml": (lambda folder: sky("sky_train.yaml", folder), "10.0.0.4:29500"),
}
OTHERS: dict[str, Recipe] = {
    "search.sbatch": lambda folder: slurm("search.sbatch", folder, SLURM_LOCALID="7", SLURM_PROCID="7"),
    "ray-job.yaml": lambda _: ray_job(),
    "my_ray.py": lambda _: databricks(),
    "my_dag.py, train": lambda _: airflow("train"),
}
ALL = {name: recipe for name, (recipe, _) in (SHARES | TRAININGS).items()} | OTHERS


def set_all(patch: pytest.MonkeyPatch, called: Called) -> None:
    for name, value in called.environment.items():
        patch.setenv(name, value)


def test_every_recipe_is_tested() -> None:
    assert set(recipes()) == {name.partition(",")[0] for name in ALL}


@pytest.mark.parametrize("name", SHARES)
def test_commands_know_their_share(bare: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    recipe, place = SHARES[name]
    set_all(bare, called := recipe(tmp_path))
    workers = called.parameters.workers
    assert workers.engine == "array"
    assert place_of(COMMANDS, workers.of, "workers.of") == place


@pytest.mark.parametrize("name", TRAININGS)
def test_machines_of_a_training_meet(bare: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    recipe, place = TRAININGS[name]
    set_all(bare, called := recipe(tmp_path))
    train = called.parameters.train
    assert (train.nodes, train.devices) == (2, "auto")
    assert (machine_rank(train.nodes), meeting_point(train.rendezvous)) == (1, place)


def test_commands_of_a_search_have_a_gpu_each(tmp_path: Path) -> None:
    assert OTHERS["search.sbatch"](tmp_path).environment["CUDA_VISIBLE_DEVICES"] == "7"


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_command_of_a_recipe_starts(
    project: Path, starting_only: None, bare: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    set_all(bare, called := ALL[name](tmp_path))
    arguments = [called.arguments[-1]]
    for pattern, there in PLACES.items():
        arguments = [re.sub(pattern, there, each) for each in arguments]
    with pytest.raises(Started):
        kedro_run(project, *on_digits([*called.arguments[1:-1], *arguments]))


@pytest.mark.slow
def test_capacity_is_that_of_the_script() -> None:
    """But for what is measured: the scoring of a thread."""
    script = [sys.executable, str(ROOT / "benchmarks" / "capacity.py"), "--seconds", "0.01"]
    printed = subprocess.run(script, capture_output=True, text=True, check=True).stdout.splitlines()
    page = PAGE.read_text(encoding="utf-8").splitlines()
    assert [line for line in printed if "CPU thread" not in line and line not in page] == []
    assert len([line for line in page if line.startswith("| score K=8 hidden 64, one CPU thread (")]) == 1
