"""Check that images are the ones that they were before."""

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.images.table import TableOrigin


def check_same_origin(
    before: TableOrigin, now: TableOrigin, *, subject: str, remedy: str, by_checksum: bool = False
) -> None:
    """Check that tables of both origins hold the same images.

    Args:
        before: the images that a training, a search or a model had.
        now: the present ones.
        subject: begins the error's line, up to "other images than there are now".
        remedy: what to do instead of bringing the former images back.
        by_checksum: compare the source files' checksums alone, whatever the files are called.

    Raises:
        GlowPipelineError: they hold other images.
    """
    if by_checksum:
        same = sorted(before.source_files.values()) == sorted(now.source_files.values())
        changed = [] if same else ["source_files"]
    else:
        changed = [name for name in TableOrigin.model_fields if getattr(before, name) != getattr(now, name)]
    if changed:
        raise GlowPipelineError(
            f"{subject} other images than there are now ({', '.join(changed)} changed); bring those back, {remedy}"
        )
