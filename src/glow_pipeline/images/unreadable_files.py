"""Files that cannot be decoded: collected while a table is written, and listed in one line."""

import logging
from collections.abc import Mapping
from itertools import islice

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.split_images import SplitImages

# A folder in which nothing can be read is reported after so many files, not after all of them.
AT_MOST = 100
NAMED_AT_MOST = 10
LOGGED_AT_MOST = 1000

logger = logging.getLogger(__name__)


class UnreadableFiles(dict[str, str]):
    """Name -> reason of the first LOGGED_AT_MOST files, each of which is logged when it is added.

    Attributes:
        count: number of all files.
    """

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def add(self, found: Mapping[str, str]) -> None:
        """Add the unreadable files of a chunk."""
        for name, reason in islice(found.items(), max(0, LOGGED_AT_MOST - self.count)):
            logger.warning("%s: unreadable: %s", name, reason)
            self[name] = reason
        self.count += len(found)

    def log_rest(self, title: str) -> None:
        """Log how many files were not logged one by one."""
        if self.count > LOGGED_AT_MOST:
            logger.warning("%s: %s more unreadable files", title, f"{self.count - LOGGED_AT_MOST:,}")

    @property
    def enough(self) -> bool:
        """True after so many files, when reading can stop."""
        return self.count >= AT_MOST


def find_unreadable(images: SplitImages) -> UnreadableFiles:
    """Decode all chosen images, keep none, and return the unreadable files; stop early where there are many."""
    found = UnreadableFiles()
    for chunk in images.with_progress("read"):
        found.add(chunk.unreadable)
        if found.enough:
            break
    return found


def refusal(
    title: str, unreadable: Mapping[str, str], count: int, *, so_far: bool = False, skipped: bool = False
) -> GlowPipelineError:
    """Return the error that lists unreadable files, the first NAMED_AT_MOST by name.

    Args:
        unreadable: name -> reason, of the first files.
        count: number of all files.
        so_far: reading ended before all files were tried.
        skipped: unreadable files are left out already, and no image remains.
    """
    named = ", ".join(f"{name} ({reason})" for name, reason in list(unreadable.items())[:NAMED_AT_MOST])
    more = f" and {count - NAMED_AT_MOST} more, listed above" if count > NAMED_AT_MOST else ""
    advice = "none is left; give others" if skipped else "replace or remove them, or set ingest.on_unreadable=skip"
    return GlowPipelineError(f"{title}: {count} unreadable files{' so far' if so_far else ''}: {named}{more}; {advice}")
