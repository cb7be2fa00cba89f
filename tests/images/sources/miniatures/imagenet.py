"""ImageNet: the development kit and the archives, with three classes."""

import io
from collections.abc import Mapping
from functools import cache

import numpy as np
from scipy.io import savemat

from glow_pipeline.images.sources.source import Split
from tests.images.sources.archive_files import jpeg, tar_of
from tests.images.sources.contract import Expected, Miniature, decoded

DEVKIT = "imagenet/ILSVRC2012_devkit_t12.tar.gz"
ARCHIVES: dict[Split, str] = {
    "train": "imagenet/ILSVRC2012_img_train.tar",
    "test": "imagenet/ILSVRC2012_img_val.tar",
}
META, TRUTH = (f"ILSVRC2012_devkit_t12/data/{name}" for name in ("meta.mat", "ILSVRC2012_validation_ground_truth.txt"))
# ILSVRC2012_ID, WNID, words, number of children: the numbers are not in the order of the WordNet ids, and the last two
# synsets are groups of the others.
SYNSETS = [
    (1, "n02119789", "kit fox, Vulpes macrotis", 0),
    (2, "n01440764", "tench, Tinca tinca", 0),
    (3, "n02100735", "English setter", 0),
    (1001, "n00001740", "entity", 2),
    (1002, "n02083346", "canine, canid", 2),
]
# Positions among the sorted WordNet ids, as in torchvision.
LABELS = {"n01440764": 0, "n02100735": 1, "n02119789": 2}
GROUND_TRUTH = [3, 1, 1, 2, 3, 2]


def meta_mat(fields: tuple[str, ...] = ("ILSVRC2012_ID", "WNID", "words", "gloss", "num_children")) -> bytes:
    """Return the table of synsets as MATLAB stores it: a column of structs."""
    rest = ("children", "wordnet_height", "num_train_images")
    synsets = np.zeros((len(SYNSETS), 1), dtype=[(field, object) for field in (*fields, *rest)])
    for i, (number, wnid, words, n_children) in enumerate(SYNSETS):
        values = (float(number), wnid, words, "a thing", float(n_children))[: len(fields)]
        children = np.array([1.0, 2.0]) if n_children else np.empty((0, 0))
        synsets[i, 0] = (*values, children, float(n_children > 0), 0.0 if n_children else 1300.0)
    file = io.BytesIO()
    savemat(file, {"synsets": synsets}, do_compression=True)
    return file.getvalue()


def devkit() -> dict[str, bytes]:
    return {
        "ILSVRC2012_devkit_t12/": b"",
        "ILSVRC2012_devkit_t12/readme.txt": b"ImageNet Large Scale Visual Recognition Challenge 2012\n",
        "ILSVRC2012_devkit_t12/data/": b"",
        META: meta_mat(),
        TRUTH: "".join(f"{number}\n" for number in GROUND_TRUTH).encode(),
    }


def train_images() -> dict[str, dict[str, bytes]]:
    """Return images by inner archive; neither are sorted."""
    return {
        f"{wnid}.tar": {f"{wnid}_{i}.JPEG": jpeg(100 * number + i, (10 + i, 20)) for i in (18, 2, 7)[: 1 + number]}
        for number, wnid, _, n_children in SYNSETS
        if not n_children
    }


def train_tar(images: Mapping[str, Mapping[str, bytes]]) -> bytes:
    return tar_of({name: tar_of(inner) for name, inner in images.items()})


def val_images() -> dict[str, bytes]:
    """Return images in no order, as in the true archive."""
    order = np.random.default_rng(2).permutation(len(GROUND_TRUTH)) + 1
    assert order.tolist() != sorted(order)
    return {f"ILSVRC2012_val_{i:08}.JPEG": jpeg(int(i)) for i in order}


@cache
def miniature() -> Miniature:
    train = {f"{inner}/{name}": content for inner, of in train_images().items() for name, content in of.items()}
    val = dict(sorted(val_images().items()))
    wnid_of = {number: wnid for number, wnid, _, _ in SYNSETS}
    expected: dict[Split, Expected] = {
        "train": Expected(
            [decoded(content) for content in train.values()],
            [LABELS[name.partition(".tar")[0]] for name in train],
            list(train),
        ),
        "test": Expected(
            [decoded(content) for content in val.values()], [LABELS[wnid_of[k]] for k in GROUND_TRUTH], list(val)
        ),
    }
    files = {
        DEVKIT: tar_of(devkit(), "w:gz"),
        ARCHIVES["train"]: train_tar(train_images()),
        ARCHIVES["test"]: tar_of(val_images()),
    }
    return Miniature("imagenet", files, {split: [DEVKIT, ARCHIVES[split]] for split in ARCHIVES}, expected)


MINIATURES = {"imagenet": miniature}
