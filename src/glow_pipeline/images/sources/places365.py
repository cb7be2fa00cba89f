"""Places365-Standard (Zhou et al. 2017, http://places2.csail.mit.edu): the archives of 256x256 images, read in place.

`categories_places365.txt` gives each category (`/a/airfield`) its number, and a training image's category is its
folder; `places365_val.txt` gives those of the validation images, which are for testing.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.sources.archives import TarImages, TarMember, read_text, tar_members
from glow_pipeline.images.sources.remote import Published, RemoteFile
from glow_pipeline.images.sources.source import EncodedSplit, Source, Split

BASE = "http://data.csail.mit.edu/places/places365/"
LISTS = RemoteFile(
    "filelist_places365-standard.tar",
    "35a0585fee1fa656440f3ab298f8479c",
    (f"{BASE}filelist_places365-standard.tar",),
)
TRAIN = "train_256_places365standard.tar"
ARCHIVES: dict[Split, RemoteFile] = {
    "train": RemoteFile(TRAIN, "53ca1c756c3d1e7809517cc47c5561c5", (f"{BASE}{TRAIN}",)),
    "test": RemoteFile("val_256.tar", "e27b17d8d44f4af9a78502beb927f808", (f"{BASE}val_256.tar",)),
}
PUBLISHED = Published("places365", lambda split: [LISTS, ARCHIVES[split]])


def _open(files: Sequence[Path], split: Split) -> EncodedSplit:
    lists, archive = files
    numbers = _numbers(lists, "categories_places365.txt" if split == "train" else "places365_val.txt")
    images, labels = TarImages(), []
    try:
        for member in tar_members(archive):
            if member.name.lower().endswith(".jpg"):
                labels.append(numbers[_category(member) if split == "train" else member.name.rpartition("/")[2]])
                images.append(archive, member)
    except KeyError as unknown:
        raise GlowPipelineError(f"{archive}: {unknown} is not in the lists of {lists}; fetch both again") from None
    return EncodedSplit(np.array(labels, dtype=np.int64), images)


def _category(member: TarMember) -> str:
    """Return `/a/airfield` of `data_256/a/airfield/00000001.jpg`."""
    return f"/{member.name.partition('/')[2].rpartition('/')[0]}"


def _numbers(lists: Path, name: str) -> dict[str, int]:
    """Return the lines `<name> <number>` of one of the lists as a dict."""
    for member in tar_members(lists):
        if member.name.rpartition("/")[2] == name:
            try:
                lines = read_text(lists, member).splitlines()
                return {key: int(number) for key, number in (line.split() for line in lines if line.strip())}
            except ValueError as damaged:
                raise GlowPipelineError(f"{lists}: {name} is damaged ({damaged}); fetch it again") from None
    raise GlowPipelineError(f"{lists}: {name} is not in it; fetch it again")


PLACES365 = Source(
    name="places365",
    title="scenes of 365 kinds",
    channels=3,
    n_bits=8,
    size=(256, 256),
    default_size=(128, 128),
    num_classes=365,
    licence="images for research only, lists CC BY",
    counts=(1_803_460, 0, 36_500),
    files=PUBLISHED.files,
    open=_open,
    paths=PUBLISHED.paths,
)
