"""Places of a catalog entry's files: a path on a local disk, or an address of fsspec."""

import re

from kedro.io.core import get_protocol_and_path

from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.remote_storage import has_scheme

LOCAL = "file"


def protocol_and_path(filepath: str) -> tuple[str, str]:
    """Return fsspec's name of the storage (`file`, `s3`), and the path there.

    Raises:
        GlowPipelineError: fsspec would take it for a local folder or for another path than the typed one.
    """
    if has_scheme(filepath) and not re.match("[^:]+://", filepath):
        raise GlowPipelineError(f"filepath={filepath}: not an address; write it with //, as in s3://bucket/folder/name")
    if "://" in filepath and ("#" in filepath or "?" in filepath):
        raise GlowPipelineError(f"filepath={filepath}: an address may contain no # and no ?; choose another name")
    return get_protocol_and_path(filepath)


def local_path(filepath: str) -> str:
    """Return the path of a file or folder that has to be on a local disk.

    Raises:
        GlowPipelineError: it is an address of remote storage.
    """
    protocol, path = protocol_and_path(filepath)
    if protocol != LOCAL:
        raise GlowPipelineError(
            f"filepath={filepath}: {protocol}:// works for figures, tables and metrics; models, image tables and "
            f"folders are on a local disk, since they are memory-mapped or locked; give a local path"
        )
    return path
