"""Heat maps of files as pictures in a folder."""

import csv
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from glow_pipeline.images.classes import sanitise, short_hash
from glow_pipeline.verdict import columns
from glow_pipeline.verdict.report.pictures import beside_its_heat_map, png_of
from glow_pipeline.verdict.shown import ShownImage

INDEX = "index.csv"
HEADER = ("rank", "file", "heat_map", columns.P_VALUE, columns.VERDICT)


@dataclass(frozen=True)
class HeatMapFiles:
    """Heat maps that are drawn when they are written, one after the other.

    Attributes:
        scored: the table of verdicts.
        images: returns files of the table with their explanations, one after the other.
        n_images: about how many.
        n_bits: of the images.
    """

    scored: pd.DataFrame
    images: Callable[[], Iterable[ShownImage]]
    n_images: int
    n_bits: int

    def write(self, folder: Path) -> None:
        """Make a folder with a PNG for each file, the image beside its heat map, and a list of them (`INDEX`)."""
        folder.mkdir(parents=True)
        with (folder / INDEX).open("w", encoding="utf-8", newline="") as index:
            lines = csv.writer(index)
            lines.writerow(HEADER)
            bar = tqdm(self.images(), total=self.n_images, desc="heat maps", unit="img", delay=2, leave=False)
            for shown in bar:
                file = str(self.scored[columns.FILE].iloc[shown.row])
                p, verdict = (self.scored[column].iloc[shown.row] for column in (columns.P_VALUE, columns.VERDICT))
                name = self._name(shown.row, file)
                (folder / name).write_bytes(png_of(beside_its_heat_map(shown, self.n_bits)))
                lines.writerow((shown.row + 1, file, name, p, verdict))

    def _name(self, row: int, file: str) -> str:
        """Return a name that sorts by suspicion and that no other file has, also not in another table."""
        digits = len(str(len(self.scored)))
        return f"{row + 1:0{digits}}_{sanitise(Path(file).stem)}_{short_hash(file)}.png"
