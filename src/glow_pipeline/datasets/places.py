"""The place of a catalog entry's files: on a local disk, or at an address of fsspec."""

import re

from kedro.io.core import get_protocol_and_path

from glow_pipeline.errors import GlowPipelineError

LOCAL = "file"
ADDRESS_WITHOUT_SLASHES = re.compile(r"[a-z][a-z0-9+.-]+:(?!//)", re.IGNORECASE)  # two letters or more: C:\ is a folder


def protocol_and_path(filepath: str) -> tuple[str, str]:
    """Return fsspec's name of the storage (`file`, `s3`), and the path there.

    Raises:
        GlowPipelineError: it would be understood as a local folder or as another path than was typed.
    """
    if ADDRESS_WITHOUT_SLASHES.match(filepath):
        raise GlowPipelineError(f"filepath={filepath}: not an address; write it with //, as in s3://bucket/folder/name")
    if "://" in filepath and ("#" in filepath or "?" in filepath):
        raise GlowPipelineError(f"filepath={filepath}: an address may contain no # and no ?; choose another name")
    return get_protocol_and_path(filepath)


def local_path(filepath: str) -> str:
    """Return the path of a file or folder that has to be on a local disk.

    Raises:
        GlowPipelineError: it is at an address.
    """
    protocol, path = protocol_and_path(filepath)
    if protocol != LOCAL:
        raise GlowPipelineError(
            f"filepath={filepath}: {protocol}:// works for figures, tables and metrics; models, image tables and "
            f"folders are on a local disk, since they are memory-mapped or locked; give a local path"
        )
    return path
