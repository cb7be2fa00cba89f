"""A preset of what `tests.project.TINY_COMMAND` trains."""

import shutil
from pathlib import Path

from omegaconf import OmegaConf

from tests.project import ROOT, TINY


def with_tiny_preset(finished: Path, folder: Path) -> Path:
    """Return a project in a folder that has the data of a finished one, and this preset beside the others: `tiny`."""
    shutil.copytree(ROOT / "conf", folder / "conf", ignore=shutil.ignore_patterns("local"))
    (folder / "data").symlink_to(finished / "data")
    (folder / "conf" / "tiny").mkdir()
    own = OmegaConf.merge(OmegaConf.load(ROOT / "conf" / "digits" / "parameters.yml"), TINY)
    OmegaConf.save(own, folder / "conf" / "tiny" / "parameters.yml")
    return folder
