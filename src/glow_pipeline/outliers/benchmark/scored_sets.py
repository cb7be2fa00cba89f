"""Stored scores of the sets of a benchmark, so that an interrupted benchmark resumes with the next set."""

import inspect
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pandas as pd

import glow_pipeline
from glow_pipeline.files import written_whole
from glow_pipeline.images.table import ImageTable
from glow_pipeline.outliers.scores.score import Score

COMPUTING = ("density.py", "randomness.py", "flow/**/*.py", "images/**/*.py", "outliers/**/*.py")  # what scores need


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
        content = sha256(images.record.model_dump_json().encode())
        content.update(images.rows.tobytes())
        own = digest_of({**self.depends_on, "images": content.hexdigest()})
        return self.folder / f"{self.version}_{digest_of(self.depends_on)}" / f"{name}_{own}.parquet"

    def score(self, name: str, images: ImageTable, compute: Callable[[], pd.DataFrame]) -> Path:
        """Return the path of a set's scores, which are computed if no earlier command has stored them."""
        path = self.path(name, images)
        if not path.exists():
            scores = compute()
            with written_whole(path) as temporary:
                scores.to_parquet(temporary)
        return path


def digest_of(values: Mapping[str, object]) -> str:
    """Return eight hex digits that differ if the values do."""
    return sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:8]


def code_digest(scores: Iterable[Score], rooms: Sequence[str] = COMPUTING) -> str:
    """Return a digest of the code that computes these scores: of the package's rooms, and of a user's own files."""
    package = Path(glow_pipeline.__file__).parent
    computing = sorted(file for room in rooms for file in package.glob(room))
    own = {Path(inspect.getfile(type(score))) for score in scores} - set(computing)
    content = sha256()
    for file in [*computing, *sorted(own)]:
        content.update(file.read_bytes())
    return content.hexdigest()
