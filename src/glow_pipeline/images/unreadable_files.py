"""Files that cannot be decoded: collected while a table is written, and listed in one line."""

import logging
from collections.abc import Mapping

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.split_images import SplitImages

# A folder in which nothing can be read is reported after so many files, not after all of them.
AT_MOST = 100
NAMED_AT_MOST = 10

logger = logging.getLogger(__name__)


class UnreadableFiles(dict[str, str]):
    """Name -> reason. Each file that is added is logged."""

    def add(self, found: Mapping[str, str]) -> None:
        """Add and log the unreadable files of a chunk."""
        for name, reason in found.items():
            logger.warning("%s: unreadable: %s", name, reason)
        self.update(found)

    @property
    def enough(self) -> bool:
        """True after AT_MOST files, when reading can stop."""
        return len(self) >= AT_MOST


def find_unreadable(images: SplitImages) -> UnreadableFiles:
    """Decode all chosen images, keep none, and return the unreadable files; stop early where there are many."""
    found = UnreadableFiles()
    for chunk in images.with_progress("read"):
        found.add(chunk.unreadable)
        if found.enough:
            break
    return found


def refusal(
    title: str, unreadable: Mapping[str, str], *, so_far: bool = False, skipped: bool = False
) -> GlowPipelineError:
    """Return the error that lists unreadable files, the first NAMED_AT_MOST by name.

    Args:
        so_far: reading ended before all files were tried.
        skipped: unreadable files are left out already, and no image remains.
    """
    named = ", ".join(f"{name} ({reason})" for name, reason in list(unreadable.items())[:NAMED_AT_MOST])
    more = f" and {len(unreadable) - NAMED_AT_MOST} more, listed above" if len(unreadable) > NAMED_AT_MOST else ""
    advice = "none is left; give others" if skipped else "replace or remove them, or set ingest.on_unreadable=skip"
    return GlowPipelineError(
        f"{title}: {len(unreadable)} unreadable files{' so far' if so_far else ''}: {named}{more}; {advice}"
    )
