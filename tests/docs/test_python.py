"""The Python code in README.md and docs/: all of it is valid, and what needs no more than a model of digits runs."""

import re
import shutil
from pathlib import Path

import pytest

from tests.docs.commands import python_blocks
from tests.docs.typed import write_images
from tests.project import versions

# Documents whose code other tests run, or that is a part of something: of a file, of a class, of a pipeline.
ELSEWHERE = {
    "docs/extending.md": "tests/pipelines/test_additions.py, tests/outliers/scores/test_registry.py",
    "docs/parameters.md": "tests/end_to_end/test_commands.py",
    "docs/python.md": "tests/end_to_end/test_python_page.py",
    "docs/serving.md": "tests/end_to_end/test_serving.py",
}
RUNNING = [(document, code) for document, code in python_blocks() if document not in ELSEWHERE]
DOWNLOADED = re.compile(r"fashionmnist|\bmnist\b|cifar10")
VERSION = re.compile(r"(data/\S+?)/<version>")


@pytest.mark.parametrize(("document", "code"), python_blocks(), ids=[document for document, _ in python_blocks()])
def test_code_compiles(document: str, code: str) -> None:
    compile(code, document, "exec")


@pytest.mark.parametrize(("document", "code"), RUNNING, ids=[document for document, _ in RUNNING])
def test_code_runs_on_digits(
    finished_digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, document: str, code: str
) -> None:
    """With digits in place of sets that are downloaded, and a folder of their images wherever images are named."""
    (tmp_path / "data").symlink_to(finished_digits / "data")
    write_images(tmp_path / "clothes", n=5, name="digit_{}.png")
    (tmp_path / "models" / "lungs").mkdir(parents=True)
    for file in ("glow_model", "glow_detector"):
        newest = versions(finished_digits, f"06_models/digits/{file}.safetensors/*/*.safetensors")[-1]
        shutil.copy(newest, tmp_path / "models" / "lungs")
    monkeypatch.chdir(tmp_path)
    code = DOWNLOADED.sub("digits", code).replace("false_alarm_rate=0.01", "false_alarm_rate=0.05")
    code = VERSION.sub(lambda found: str(sorted(Path(found[1]).iterdir())[-1]), code)
    exec(compile(code, document, "exec"), {})
