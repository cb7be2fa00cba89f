"""The end of making a table in parts: its small files, and the step by which it is there."""

from collections.abc import Iterator
from pathlib import Path

from glow_pipeline.files import flush_all, link_or_copy, rename_whole
from glow_pipeline.images.images_file import ImageCounts
from glow_pipeline.images.ingest_parts import CONTENT_HASH, LABEL, NAME, IngestParts, record_file, rows_file
from glow_pipeline.images.sources.source import EncodedSplit
from glow_pipeline.images.table_files import (
    CONTENT,
    IMAGES,
    LABELS,
    PARTS,
    UNREADABLE,
    PartFile,
    images_file,
    write_names,
    write_parts,
    write_unreadable,
)
from glow_pipeline.images.table_writer import array_file, write_record
from glow_pipeline.images.unreadable_files import NAMED_AT_MOST


def write_small_files(folder: Path, work: IngestParts) -> None:
    """Write all of a table but its images, the record last.

    Two small files of each part are read, one part at a time.

    Args:
        folder: an existing local folder.
        work: all of whose parts are stored.

    Raises:
        GlowPipelineError: no image could be read, or the disk is full.
    """
    with work.writer.full_disk_in_one_line(folder):
        counts = _write_parts(folder, work)
        _write_rows(folder, work, counts.count)
        write_record(folder, work.writer.record(work.images, counts))


def _write_parts(folder: Path, work: IngestParts) -> ImageCounts:
    """Write which files of images there are and which files were left out; return the counts of the table."""
    counts, parts, first = ImageCounts(), list[PartFile](), dict[str, str]()

    def left_out() -> Iterator[list[tuple[str, str]]]:
        for part in range(len(work.sizes)):
            record = work.record(part)
            counts.add_all(record)
            if record.count:
                parts.append(PartFile(images_file(part), record.count, record.sha256))
            if len(first) < NAMED_AT_MOST:
                first.update(record.unreadable)
            yield list(record.unreadable.items())

    write_unreadable(folder / UNREADABLE, left_out())
    if not counts.n_unreadable:
        (folder / UNREADABLE).unlink()
    work.writer.check_unreadable(counts.count, first, counts.n_unreadable)
    if len(work.sizes) > 1:
        write_parts(folder / PARTS, parts)
    return counts


def _write_rows(folder: Path, work: IngestParts, count: int) -> None:
    """Write the labels, the content hashes and, of files, the names of all images."""
    with array_file(folder / LABELS, count) as labels, array_file(folder / CONTENT, count) as hashes:

        def names() -> Iterator[list[str]]:
            for part in range(len(work.sizes)):
                rows = work.rows(part)
                labels.write(rows.column(LABEL).to_numpy().data)
                hashes.write(rows.column(CONTENT_HASH).to_numpy().data)
                if NAME in rows.column_names:
                    yield rows.column(NAME).to_pylist()

        if isinstance(work.images.split, EncodedSplit):
            write_names(folder, names())
        else:
            for _ in names():
                pass


def commit(work: IngestParts, table: Path) -> None:
    """Make the folder of parts the table's folder: nothing is copied, and before that all parts stay where they are.

    Args:
        work: all of whose parts are stored in a local folder.
        table: folder of the table, which is not there yet.
    """
    folder = work.store.folder
    if folder is None:
        raise ValueError(f"{work.store}: not a local folder")
    for leftover in folder.glob(".*"):  # of a process that was killed while it renamed a file
        leftover.unlink()
    write_small_files(folder, work)
    if len(work.sizes) == 1:  # it looks like one that was written at once
        (folder / IMAGES).unlink(missing_ok=True)
        link_or_copy(folder / images_file(0), folder / IMAGES)
    flush_all(folder)
    table.parent.mkdir(parents=True, exist_ok=True)
    rename_whole(folder, table)
    for part in range(len(work.sizes)):
        (table / rows_file(part)).unlink()
        (table / record_file(part)).unlink()
    if len(work.sizes) == 1:
        (table / images_file(0)).unlink()
    if work.agreed is not None:
        work.agreed.delete()
