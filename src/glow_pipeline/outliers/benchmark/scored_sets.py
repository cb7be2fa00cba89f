"""Stored scores of the sets of a benchmark, so that an interrupted benchmark resumes with the next set."""

import inspect
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import PIL
import torch

import glow_pipeline
from glow_pipeline.files import written_whole
from glow_pipeline.images.table import ImageTable
from glow_pipeline.outliers.detector import Detector
from glow_pipeline.outliers.other_models import OtherModels
from glow_pipeline.outliers.score_table import ScoreTable
from glow_pipeline.outliers.scores import SCORES
from glow_pipeline.outliers.scores.score import Score
from glow_pipeline.outliers.statistics.codecs import codec_versions
from glow_pipeline.workers.fingerprint import Fingerprint

# What scores are computed with, among what they depend on: another device or version may change their last bits.
MADE_WITH = ("device", "machine", "codecs", "libraries", "code", "batch_size")
COMPUTING = ("density.py", "randomness.py", "flow/**/*.py", "images/**/*.py", "outliers/**/*.py")  # what scores need
ROWS_AT_ONCE = 2**20


@dataclass(frozen=True)
class ScoredSets:
    """The files of one model's scores: a parquet file a set, complete or absent.

    A file's name follows from everything that its scores depend on. So the same command finds it again, and another
    one never does.

    Attributes:
        folder: of all benchmarks of a dataset.
        version: version of the model, for a person who looks.
        depends_on: everything that the scores of all sets depend on: the model, its detector, the seed, ...
    """

    folder: Path
    version: str
    depends_on: Mapping[str, object]

    def path(self, name: str, images: ImageTable) -> Path:
        """Return the path of a set's file.

        Args:
            name: name of the set.
            images: its images; their record and rows decide the name of the file.
        """
        own = digest_of({**self.depends_on, "images": images_digest(images)})
        return self._folder / f"{name}_{own}.parquet"

    @property
    def parts(self) -> Path:
        """The folder of the parts of sets that are not complete yet."""
        return self._folder / "parts"

    @property
    def _folder(self) -> Path:
        return self.folder / f"{self.version}_{digest_of(self.depends_on)}"


def store_set(path: Path, scores: pd.DataFrame | ScoreTable) -> None:
    """Store the scores of a set, completely or not at all."""
    with written_whole(path) as temporary:
        scores.to_parquet(temporary)


def scores_depend_on(
    detector: Detector, other_models: OtherModels, names: Sequence[str], *, seed: int, draws: int, device: str
) -> dict[str, object]:
    """Return all that the scores of an image by a model depend on, for a digest.

    Args:
        detector: of the model.
        other_models: the models that some scores compare with.
        names: of the scores.
        seed: of the dequantization noise.
        draws: of the noise.
        device: its name.
    """
    return {
        "detector": detector.record.model_dump(mode="json"),
        "other_models": other_models.record(),
        "scores": names,
        "draws": draws,
        "seed": seed,
        "device": device,
        "machine": platform.machine(),
        "codecs": codec_versions(),
        "libraries": {"pillow": PIL.__version__, "torch": torch.__version__},
        "code": code_digest(SCORES[name] for name in names),
    }


def fingerprint_of(depends_on: Mapping[str, object]) -> Fingerprint:
    """Return what tells scores from others, by all that they depend on."""
    made_with = {name: value for name, value in depends_on.items() if name in MADE_WITH}
    work = {name: value for name, value in depends_on.items() if name not in MADE_WITH}
    shown: dict[str, str] = {}
    for name, value in made_with.items():
        versions = value if isinstance(value, Mapping) else {name: value}
        shown |= {key: str(version) for key, version in versions.items()}
    return Fingerprint(digest_of(work), shown, digest_of(depends_on))


def images_digest(images: ImageTable) -> str:
    """Return a digest of what a table is made of and of its rows."""
    content = sha256(images.record.model_dump_json().encode())
    for first in range(0, len(images), ROWS_AT_ONCE):
        content.update(np.asarray(images.rows[first : first + ROWS_AT_ONCE], dtype=np.int64).tobytes())
    return content.hexdigest()


def digest_of(values: Mapping[str, object]) -> str:
    """Return eight hex digits that differ if the values do."""
    return sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:8]


def code_digest(scores: Iterable[Score], patterns: Sequence[str] = COMPUTING) -> str:
    """Return 16 hex digits of the code that computes these scores: the package's files, and a user's own."""
    package = Path(glow_pipeline.__file__).parent
    computing = sorted(file for pattern in patterns for file in package.glob(pattern))
    own = {Path(inspect.getfile(type(score))) for score in scores} - set(computing)
    content = sha256()
    for file in [*computing, *sorted(own)]:
        content.update(file.read_bytes())
    return content.hexdigest()[:16]
