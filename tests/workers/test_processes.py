"""The engine `processes`: one, or several, each with a part at a time."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.workers.engines import finish
from tests.proc import alive
from tests.project import ROOT
from tests.workers.squares import Squares


def by(folder: Path, n: int) -> set[tuple[str, ...]]:
    """Return the process, its seat and the number of seats of each part."""
    return {tuple((folder / f"{part}.by").read_text().split()) for part in range(n)}


def test_one_process_has_the_machine_for_itself(tmp_path: Path) -> None:
    assert finish(Squares(tmp_path, 3), "processes")
    ((_, index, of),) = by(tmp_path, 3)
    assert (index, of) == ("0", "1")


def test_each_process_keeps_its_seat(tmp_path: Path) -> None:
    work = Squares(tmp_path, 6, meet=True)
    assert finish(work, "processes", processes=2)
    assert sorted(seat[1:] for seat in by(tmp_path, 6)) == [("0", "2"), ("1", "2")]
    assert [(tmp_path / str(part)).read_text() for part in range(6)] == ["0", "1", "4", "9", "16", "25"]


def test_error_of_a_part_keeps_the_others(tmp_path: Path) -> None:
    with pytest.raises(GlowPipelineError, match="part 1: is odd; choose another"):
        finish(Squares(tmp_path, 4, refused=1), "processes", processes=2)
    assert 1 in Squares(tmp_path, 4).missing()
    assert 0 not in Squares(tmp_path, 4).missing()


@pytest.mark.slow
def test_killed_process_is_one_line_and_parts_stay(tmp_path: Path) -> None:
    work = Squares(tmp_path, 4, killed=2)
    with pytest.raises(GlowPipelineError, match=r"squares: one of 2 processes died; .* finished parts are kept"):
        finish(work, "processes", processes=2)
    assert finish(work, "processes", processes=2)


@pytest.mark.slow
def test_processes_end_with_a_killed_parent(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\nfrom glow_pipeline.workers.engines import finish\n"
        "from tests.workers.squares import Squares\n"
        f"if __name__ == '__main__': finish(Squares(Path({str(tmp_path)!r}), 500, seconds=0.1), 'processes', None, 2)"
    )
    environment = {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    parent = subprocess.Popen([sys.executable, str(script)], env=environment)
    while len(list(tmp_path.glob("*.by"))) < 4:
        assert parent.poll() is None
        time.sleep(0.05)
    pids = {int(file.read_text().split()[0]) for file in tmp_path.glob("*.by") if file.read_text()}
    parent.kill()
    parent.wait()
    for _ in range(100):
        if not any(alive(pid) for pid in pids):
            break
        time.sleep(0.1)
    assert not any(alive(pid) for pid in pids)
