"""Tiny ImageNet: the zip archive with three classes."""

from functools import cache

from tests.images.sources.archive_files import jpeg, zip_of
from tests.images.sources.contract import Expected, Miniature, decoded

FILE, ROOT = "tinyimagenet/tiny-imagenet-200.zip", "tiny-imagenet-200"
# As in the true archive, not sorted; labels are positions among the sorted ones.
WNIDS = ["n02124075", "n04067472", "n01443537"]
LABELS = {"n01443537": 0, "n02124075": 1, "n04067472": 2}
TRAIN = {f"{ROOT}/train/{wnid}/images/{wnid}_{i}.JPEG": (wnid, i) for wnid in WNIDS for i in range(2)}
VAL = {"val_0.JPEG": "n04067472", "val_2.JPEG": "n01443537", "val_10.JPEG": "n04067472", "val_1.JPEG": "n02124075"}


def encoded(wnid: str, number: int) -> bytes:
    """Return an image; some of the true ones are grey, too."""
    return jpeg(10 * WNIDS.index(wnid) + number, (64, 64), "L" if number == 1 else "RGB")


def members() -> dict[str, bytes]:
    files = {f"{ROOT}/": b"", f"{ROOT}/train/": b""}
    for wnid in WNIDS:
        files[f"{ROOT}/train/{wnid}/"] = b""
        files[f"{ROOT}/train/{wnid}/{wnid}_boxes.txt"] = f"{wnid}_0.JPEG\t0\t10\t63\t58\n".encode()
        files[f"{ROOT}/train/{wnid}/images/"] = b""
        files |= {name: encoded(*which) for name, which in TRAIN.items() if which[0] == wnid}
    files[f"{ROOT}/val/val_annotations.txt"] = "".join(
        f"{name}\t{wnid}\t0\t32\t44\t62\n" for name, wnid in VAL.items()
    ).encode()
    files |= {f"{ROOT}/val/images/{name}": encoded(VAL[name], 5 + i) for i, name in enumerate(sorted(VAL))}
    files[f"{ROOT}/wnids.txt"] = "\n".join(WNIDS).encode()
    files[f"{ROOT}/words.txt"] = b"n01443537\tgoldfish, Carassius auratus\nn00001740\tentity\n"
    files[f"{ROOT}/test/images/test_0.JPEG"] = jpeg(99)
    return files


@cache
def miniature() -> Miniature:
    files = members()
    names = {"train": list(TRAIN), "test": [f"{ROOT}/val/images/{name}" for name in VAL]}
    wnids = {"train": [wnid for wnid, _ in TRAIN.values()], "test": list(VAL.values())}
    expected = {
        split: Expected(
            [decoded(files[name]) for name in names[split]], [LABELS[wnid] for wnid in wnids[split]], names[split]
        )
        for split in names
    }
    return Miniature("tinyimagenet", {FILE: zip_of(files)}, {"train": [FILE], "test": [FILE]}, expected)  # type: ignore[arg-type]


MINIATURES = {"tinyimagenet": miniature}
