"""ImageNet 2012 (ILSVRC, https://image-net.org): the official archives, read in place.

The training archive holds one archive a class, `n01440764.tar`. The validation images, which are for testing, get
their classes from the development kit: the ground truth gives an ILSVRC2012_ID for each, and `meta.mat` the WordNet
id of each of these. Classes are WordNet ids, sorted, as in torchvision.
"""

import io
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.sources.archives import TarImages, tar_members
from glow_pipeline.images.sources.remote import Published, RemoteFile
from glow_pipeline.images.sources.source import EncodedSplit, Source, Split

MANUAL = "https://image-net.org/challenges/LSVRC/2012/2012-downloads.php (free account for research)"
DEVKIT = RemoteFile("ILSVRC2012_devkit_t12.tar.gz", "fa75699e90414af021442c21a62c3abf", manual=MANUAL)
ARCHIVES: dict[Split, RemoteFile] = {
    "train": RemoteFile("ILSVRC2012_img_train.tar", "1d675b47d978889d74fa0da5fadfb00e", manual=MANUAL),
    "test": RemoteFile("ILSVRC2012_img_val.tar", "29b22e2961454d5413ddabcf34fc5622", manual=MANUAL),
}
PUBLISHED = Published("imagenet", lambda split: [DEVKIT, ARCHIVES[split]])


def _open(files: Sequence[Path], split: Split) -> EncodedSplit:
    devkit, archive = files
    wnid_of, ground_truth = _read_devkit(devkit)
    label_of = {wnid: label for label, wnid in enumerate(sorted(wnid_of.values()))}
    images, labels = TarImages(), []
    try:
        if split == "train":
            for member in tar_members(archive):
                labels.append(label_of[member.name.partition(".tar/")[0].rpartition("/")[2]])
                images.append(archive, member)
        else:
            # ILSVRC2012_val_00000001.JPEG is the first line of the ground truth.
            members = sorted(tar_members(archive), key=lambda member: member.name)
            for member, number in zip(members, ground_truth, strict=True):
                labels.append(label_of[wnid_of[number]])
                images.append(archive, member)
    except (KeyError, ValueError) as unknown:
        raise GlowPipelineError(
            f"{archive}: does not fit {devkit.name} ({unknown}); fetch both again, from {MANUAL}"
        ) from None
    return EncodedSplit(np.array(labels, dtype=np.int64), images)


def _read_devkit(path: Path) -> tuple[dict[int, str], list[int]]:
    """Return the WordNet id of each class by ILSVRC2012_ID, and the ILSVRC2012_ID of each validation image."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    wanted = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for name in ("meta.mat", "ILSVRC2012_validation_ground_truth.txt"):
                member = archive.extractfile(f"ILSVRC2012_devkit_t12/data/{name}")
                wanted[name] = member.read() if member else b""
        synsets = loadmat(io.BytesIO(wanted["meta.mat"]), squeeze_me=True)["synsets"]
        # Synsets with children are groups of classes, not classes.
        leaves = [synset for synset in np.atleast_1d(synsets) if synset["num_children"] == 0]
        wnid_of = {int(synset["ILSVRC2012_ID"]): str(synset["WNID"]) for synset in leaves}
        ground_truth = [int(line) for line in wanted["ILSVRC2012_validation_ground_truth.txt"].split()]
    except (
        tarfile.TarError,
        LookupError,
        ValueError,
        TypeError,
        EOFError,
        OSError,
        zlib.error,
        MatReadError,
    ) as damaged:
        raise GlowPipelineError(f"{path}: not a complete development kit ({damaged}); fetch it again") from None
    return wnid_of, ground_truth


IMAGENET = Source(
    name="imagenet",
    title="things of 1,000 kinds",
    channels=3,
    n_bits=8,
    size=None,
    default_size=(128, 128),
    num_classes=1000,
    licence="non-commercial research",
    counts=(1_281_167, 0, 50_000),
    files=PUBLISHED.files,
    open=_open,
    paths=PUBLISHED.paths,
    manual=MANUAL,
)
