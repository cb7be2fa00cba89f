import pytest

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.launchers import COMMANDS, MACHINES, meeting_place, place_of

ARRAY = {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_COUNT": "4", "SLURM_ARRAY_TASK_MIN": "5"}


def setenv(bare: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        bare.setenv(name, value)


@pytest.mark.parametrize(
    ("variables", "of", "place"),
    [
        ({"SLURM_NODEID": "1", "SLURM_PROCID": "3"}, 2, (1, 2)),
        ({"SKYPILOT_NODE_RANK": "1", "SKYPILOT_NUM_NODES": "3"}, None, (1, 3)),
        ({"PET_NODE_RANK": "0", "PET_NNODES": "2"}, None, (0, 2)),
        ({"JOB_COMPLETION_INDEX": "3"}, 4, (3, 4)),
        ({"PET_NODE_RANK": "1", "JOB_COMPLETION_INDEX": "1", "NODE_RANK": "0"}, 2, (0, 2)),
    ],
)
def test_machines_are_numbered_by_launchers(
    bare: pytest.MonkeyPatch, variables: dict[str, str], of: int | None, place: tuple[int, int]
) -> None:
    setenv(bare, variables)
    assert place_of(MACHINES, of, "train.nodes") == place


@pytest.mark.parametrize(
    ("variables", "of", "place"),
    [
        (ARRAY, None, (2, 4)),
        (ARRAY | {"SLURM_PROCID": "0", "SLURM_NTASKS": "1", "SLURM_NODEID": "0"}, 4, (2, 4)),
        (
            ARRAY | {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_COUNT": "1", "SLURM_ARRAY_TASK_MIN": "7"},
            None,
            (0, 1),
        ),
        ({"JOB_COMPLETION_INDEX": "63"}, 64, (63, 64)),
        ({"SLURM_PROCID": "5", "SLURM_NTASKS": "8", "SLURM_NODEID": "0"}, None, (5, 8)),
        (ARRAY | {"NODE_RANK": "1"}, 3, (1, 3)),
    ],
)
def test_commands_are_numbered_by_launchers(
    bare: pytest.MonkeyPatch, variables: dict[str, str], of: int | None, place: tuple[int, int]
) -> None:
    setenv(bare, variables)
    assert place_of(COMMANDS, of, "workers.of") == place


@pytest.mark.parametrize(
    ("variables", "of", "line"),
    [
        (
            {"JOB_COMPLETION_INDEX": "3"},
            None,
            "workers.of=null: JOB_COMPLETION_INDEX=3 says which one this command is, but nothing says how many there "
            "are; set workers.of",
        ),
        (ARRAY, 64, "workers.of=64: SLURM_ARRAY_TASK_COUNT=4; set workers.of=4"),
        (
            ARRAY | {"SLURM_ARRAY_TASK_ID": "11"},
            None,
            "SLURM_ARRAY_TASK_ID=11: should be 0 to 3 from SLURM_ARRAY_TASK_MIN on, as workers.of=4",
        ),
        ({"PET_NODE_RANK": "0", "PET_NNODES": "1:4"}, 4, "PET_NNODES=1:4: should be a number from 0 on"),
        (
            {},
            None,
            "workers.of=null: none of NODE_RANK, SLURM_ARRAY_TASK_ID, JOB_COMPLETION_INDEX, SKYPILOT_NODE_RANK, "
            "PET_NODE_RANK, SLURM_PROCID says which of them this is; set NODE_RANK=0 on the first, 1 on the next",
        ),
    ],
)
def test_unclear_places_are_refused(
    bare: pytest.MonkeyPatch, variables: dict[str, str], of: int | None, line: str
) -> None:
    setenv(bare, variables)
    with pytest.raises(GlowPipelineError) as refused:
        place_of(COMMANDS, of, "workers.of")
    assert str(refused.value) == line


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({}, None),
        ({"MASTER_ADDR": "gpu1"}, None),
        ({"SKYPILOT_NODE_IPS": "10.0.0.4\n10.0.0.7"}, "10.0.0.4:29500"),
        ({"SKYPILOT_NODE_IPS": "10.0.0.4", "PET_MASTER_ADDR": "job-0", "PET_MASTER_PORT": "29400"}, "job-0:29400"),
        ({"PET_MASTER_ADDR": "job-0", "PET_MASTER_PORT": "1", "MASTER_ADDR": "gpu1", "MASTER_PORT": "2"}, "gpu1:2"),
    ],
)
def test_launchers_say_where_machines_meet(
    bare: pytest.MonkeyPatch, variables: dict[str, str], place: str | None
) -> None:
    setenv(bare, variables)
    assert meeting_place() == place
