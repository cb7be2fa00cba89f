import gzip
import io
import tarfile
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.sources import cifar
from glow_pipeline.images.sources.cifar import CIFAR10, CIFAR100
from glow_pipeline.images.sources.remote import RemoteFile
from glow_pipeline.images.sources.source import Source
from tests.images.sources.archive_files import tar_of
from tests.images.sources.contract import SPLITS, error_of, images_of
from tests.images.sources.miniatures.cifar import ORDER, members

# As https://www.cs.toronto.edu/~kriz/cifar.html gives them.
PUBLISHED = {
    "cifar10": ("cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530"),
    "cifar100": ("cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8"),
}
each = pytest.mark.parametrize("source", [CIFAR10, CIFAR100], ids=["cifar10", "cifar100"])


def read_all(source: Source, path: Path) -> None:
    for split in SPLITS:
        images_of(source.open([path], split))


@each
def test_cifar_is_the_binary_archive(requested: list[tuple[Path, RemoteFile]], source: Source, tmp_path: Path) -> None:
    name, md5 = PUBLISHED[source.name]
    source.files(tmp_path, "train")
    url = f"https://www.cs.toronto.edu/~kriz/{name}"
    assert requested == [(tmp_path / "cifar", RemoteFile(name, md5, (url,)))]


def test_labels_do_not_keep_pixels_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "many.tar.gz"
    path.write_bytes(tar_of({"cifar-100-binary/train.bin": bytes(3074 * 3000)}, "w:gz"))
    monkeypatch.setattr(cifar, "CHUNK", 100)
    tracemalloc.start()
    try:
        labels = CIFAR100.open([path], "train").labels
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(labels) == 3000
    assert peak < 3074 * 3000 / 4


@each
@pytest.mark.parametrize("damage", ["not gzipped", "a member short", "half a record"])
def test_archive_without_all_records_is_refused(source: Source, tmp_path: Path, damage: str) -> None:
    inside = members(source.name)
    last = ORDER[source.name]["train"][-1]
    path = tmp_path / "cifar.tar.gz"
    path.write_bytes(
        {
            "not gzipped": b"".join(inside.values()),
            "a member short": tar_of({name: content for name, content in inside.items() if name != last}, "w:gz"),
            "half a record": tar_of({**inside, last: inside[last][:-1000]}, "w:gz"),
        }[damage]
    )
    message = error_of(lambda: read_all(source, path))
    assert message.startswith(f"{path}: not a complete CIFAR archive (")
    assert message.endswith("); fetch it again")


COMPLETE = tar_of(
    {name: b"" if name.endswith("txt") else bytes(content) for name, content in members("cifar10").items()}, "w:gz"
)


# A flip may remain unnoticed here, where the md5 is not compared, but none raises another exception.
@given(st.integers(0, len(COMPLETE) - 1), st.integers(0, 7))
def test_flipped_bit_raises_no_other_exception(
    tmp_path_factory: pytest.TempPathFactory, position: int, bit: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "flipped.tar.gz"
    flipped = bytearray(COMPLETE)
    flipped[position] ^= 1 << bit
    path.write_bytes(flipped)
    problem = f"{path}: none"
    try:
        read_all(CIFAR10, path)
    except GlowPipelineError as raised:
        problem = str(raised)
    assert problem.startswith(f"{path}: ")
    assert "\n" not in problem


def test_wrong_checksum_of_the_gzip_stream_is_refused(tmp_path: Path) -> None:
    # Without the two blocks of zeros that end a tar archive it is read to the end, where the checksum is.
    unzipped = gzip.decompress(COMPLETE)
    with tarfile.open(fileobj=io.BytesIO(unzipped)) as archive:
        last = archive.getmembers()[-1]
    endless = gzip.compress(unzipped[: last.offset_data + -(-last.size // 512) * 512])
    path = tmp_path / "flipped.tar.gz"
    path.write_bytes(endless[:-8] + bytes(8))
    message = error_of(lambda: CIFAR100.open([path], "train"))
    assert "flipped.tar.gz: not a complete CIFAR archive (CRC check failed" in message
