"""Image tables in a bucket, where files have no links and no other names: versions point to the files of an origin."""

import hashlib
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from glow_pipeline.buckets import Address
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.files import written_whole
from glow_pipeline.images.fetched import fetch_small_files
from glow_pipeline.images.ingest_parts import IngestParts
from glow_pipeline.images.table import ImageTable, TableOrigin, TableRecord
from glow_pipeline.images.table_commit import write_small_files
from glow_pipeline.images.table_files import PARTS, RECORD, PartFile, images_file, write_parts
from glow_pipeline.stores import BucketStore

# The folder of tables' files beside the folders of versions, the file of a version, and the beginning of the name of a
# place where commands leave what they make a table with.
BY_ORIGIN, VERSION_FILE, MADE_WITH = "by-origin", "table.json", "made-with-"


class BucketTable(BaseModel):
    """A table in a bucket. It is stored as the version of a catalog entry, and by its origin.

    Attributes:
        folder: name of the folder with the table's files.
        record: of the table; of a version, with the names that its own command has for the images.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)

    folder: str
    record: TableRecord

    def of_origin(self, origin: TableOrigin, passed_over: dict[str, int]) -> "BucketTable":
        """Return the same table by the names that another command has for its images."""
        update = {**origin.origin_fields, "passed_over": passed_over}
        return self.model_copy(update={"record": self.record.model_copy(update=update)})


@dataclass(frozen=True)
class BucketTables:
    """The files of tables by their origins, below one address.

    `<digest of the origin>-<images of a part>/` has the parts, while a table is made, and all of its files when it is
    complete; then `<digest>.json`, a `BucketTable`, names it. Whoever makes the same table writes the same bytes, so
    there is no lock.

    Attributes:
        address: of the folder that has them.
        copies: local folder for copies of them.
    """

    address: Address
    copies: Path

    def parts(self, origin: TableOrigin, part_images: int) -> BucketStore:
        """Return the place of a table's parts."""
        return BucketStore(self.address / f"{origin.digest()}-{part_images}")

    def agreed(self, origin: TableOrigin) -> BucketStore:
        """Return the place where commands leave what they make the table with."""
        return BucketStore(self.address / f"{MADE_WITH}{origin.digest(with_libraries=False)}")

    def find(self, origin: TableOrigin) -> BucketTable | None:
        """Return the complete table of this origin, if there is one."""
        return read_table(self.address / f"{origin.digest()}.json")

    def commit(self, work: IngestParts) -> BucketTable:
        """Make the table of its parts, all of which are stored."""
        store, origin = self.parts(work.writer.origin, work.part_images), work.writer.origin
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            write_small_files(folder, work)
            record = TableRecord.model_validate_json((folder / RECORD).read_bytes())
            if not (folder / PARTS).is_file():
                write_parts(folder / PARTS, [PartFile(images_file(0), record.count, work.record(0).sha256)])
            for path in sorted(folder.iterdir(), key=lambda path: (path.name == RECORD, path.name)):
                store.put(path.name, path)
        if work.missing():
            raise GlowPipelineError(
                f"{store}: parts were removed while the table was made; type the same command again"
            )
        table = BucketTable(folder=store.address.name, record=record)
        write_table(self.address / f"{origin.digest()}.json", table)
        self.agreed(origin).delete()
        return table

    def remove_unused(self, folder: str) -> bool:
        """Remove the files of a table that no version names any more, with local copies; return whether that is so.

        A command that writes a version looks for the record afterwards, and this looks for versions after the record
        is gone: where both happen at once, at least one of them notices.

        Args:
            folder: name of the folder that has the files.
        """
        record = self.address / f"{folder.rpartition('-')[0]}.json"
        table = read_table(record)
        if table is not None and table.folder != folder:  # the table in parts of another size
            table = None
        if table is not None:
            record.delete_file()
        if folder not in self._used():
            (self.address / folder).delete()
            for copy in self.copies.glob(f"{folder}-*"):
                shutil.rmtree(copy, ignore_errors=True)
            return True
        if table is not None:
            write_table(record, table)
        return False

    def _used(self) -> set[str | None]:
        """Return the folders that versions of these images name."""
        files = self.address.parent.listed(recursive=True)
        return {
            read_folder_name(self.address.parent / file.name)
            for file in files
            if file.name.endswith(f"/{VERSION_FILE}")
        }

    def open(self, table: BucketTable) -> ImageTable:
        """Return a table that is copied as its images are read; labels, names and hashes are copied now."""
        record = table.record.model_dump_json(indent=2)
        folder = self.copies / f"{table.folder}-{hashlib.sha256(record.encode()).hexdigest()[:8]}"
        store = BucketStore(self.address / table.folder)
        if not (folder / RECORD).is_file():
            fetch_small_files(store, folder)
            with written_whole(folder / RECORD) as temporary:
                temporary.write_text(record, encoding="utf-8")
        return ImageTable(folder, store=store)


def read_table(address: Address) -> BucketTable | None:
    """Return the table that a file names; None if there is no such file."""
    try:
        return BucketTable.model_validate_json(b"".join(address.blocks()))
    except FileNotFoundError:
        return None


def read_folder_name(address: Address) -> str | None:
    """Return the folder of the table that a version names, whatever its record is; None if there is no such version.

    Raises:
        GlowPipelineError: the file is damaged, so that it is unknown what may be removed.
    """
    try:
        return str(json.loads(b"".join(address.blocks()))["folder"])
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError):
        raise GlowPipelineError(f"{address}: is not the version of a table; remove {address.parent.parent}") from None


def write_table(address: Address, table: BucketTable) -> None:
    """Write the file that names a table."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / address.name
        path.write_text(table.model_dump_json(indent=2), encoding="utf-8")
        address.upload(path)
