"""A checkout that belongs to another user, as far as it can be seen by one."""

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from glow_pipeline.hooks import permissions
from glow_pipeline.hooks.one_line import line_of
from tests.hooks.helpers import refused
from tests.project import copy_project, run


def only(*writable: Path) -> object:
    """`os.access` of a user who may write in these folders alone; root may write everywhere."""
    return lambda path, mode: any(Path(path).is_relative_to(folder) for folder in writable)


def test_folder_of_another_user_is_refused_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = copy_project(tmp_path)
    monkeypatch.setattr(os, "access", only(project / "conf"))
    assert refused(project, "ingest").startswith(f"{project}/data: belongs to ")


def test_lock_of_another_user_is_refused_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = copy_project(tmp_path)
    run(project, "ingest", "digits")
    (folder,) = (project / "data/03_primary/digits").glob("*/test")
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != folder / ".lock")
    assert refused(project, "ingest", env="digits").startswith(f"{folder}: belongs to ")


def test_file_where_a_folder_is_needed_is_refused(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    (project / "data" / "03_primary").touch()
    assert refused(project, "ingest").startswith(f"{project}/data/03_primary: is a file, where a folder is needed")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no statvfs")
@pytest.mark.parametrize("name", ["existing", "not/existing"])
def test_read_only_disk_has_no_owner_to_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / "existing").touch()
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_flag=os.ST_RDONLY))
    line = line_of(OSError(errno.EROFS, "Read-only file system", str(tmp_path / name)))
    assert line is not None
    assert line.startswith(f"{tmp_path / name}: its disk is mounted read-only; mount it for writing")


@pytest.mark.parametrize("name", ["existing", "not/existing"])
def test_owner_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "existing").touch()
    line = permissions.not_permitted(tmp_path / name)
    assert line.startswith(f"{tmp_path / name}: belongs to ")
    assert "\n" not in line
