"""Places of a catalog entry's files: a path on a local disk, or an address of fsspec or of a bucket."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kedro.io.core import get_protocol_and_path
from kedro.utils import find_kedro_project

from glow_pipeline.bucket_connection import connection_options
from glow_pipeline.buckets import FORMS, Address, is_address
from glow_pipeline.datasets.bucket_files import BucketFiles
from glow_pipeline.errors import GlowPipelineError
from glow_pipeline.remote_storage import has_scheme

LOCAL = "file"
COPIES = "data/02_intermediate/copies"  # of files in buckets that programs read from a disk


def protocol_and_path(filepath: str) -> tuple[str, str]:
    """Return fsspec's name of the storage (`file`, `s3`), and the path there.

    Raises:
        GlowPipelineError: fsspec would take it for a local folder or for another path than the typed one.
    """
    if has_scheme(filepath) and not re.match("[^:]+://", filepath):
        raise GlowPipelineError(f"filepath={filepath}: not an address; write it with //, as in s3://bucket/folder/name")
    if "://" in filepath and ("#" in filepath or "?" in filepath):
        raise GlowPipelineError(f"filepath={filepath}: an address may contain no # and no ?; choose another name")
    if is_address(filepath):
        protocol, _, path = filepath.partition("://")
        return protocol, path
    return get_protocol_and_path(filepath)


def local_path(filepath: str) -> str:
    """Return the path of a file or folder that has to be on a local disk.

    Raises:
        GlowPipelineError: it is an address of remote storage.
    """
    protocol, path = protocol_and_path(filepath)
    if protocol != LOCAL:
        raise GlowPipelineError(
            f"filepath={filepath}: {protocol}:// works for what a command stores once and complete; this folder is "
            f"worked in under locks, so it is on a local or shared disk; give a local path"
        )
    return path


def bucket_files(filepath: str, *options: Mapping[str, Any] | None) -> BucketFiles | None:
    """Return the bucket that a file is in; None where it is on a local disk.

    Args:
        filepath: a path or an address.
        options: credentials and fs_args of the entry.

    Raises:
        GlowPipelineError: it is of another kind of storage, or an option is unknown.
    """
    protocol, _ = protocol_and_path(filepath)
    if protocol == LOCAL:
        return None
    if not is_address(filepath):
        raise GlowPipelineError(
            f"filepath={filepath}: {protocol}:// works for figures, tables and metrics; models, detectors and image "
            f"tables may be in a bucket ({FORMS}); give a local path, or such an address"
        )
    return BucketFiles(protocol, connection_options(filepath, *options))


def copy_of(protocol: str, path: str) -> Path:
    """Return where the local copy of a file or folder of a bucket is, in the project of the working directory."""
    project = find_kedro_project(Path.cwd()) or Path.cwd()
    return project / COPIES / protocol / path


def copy_of_address(address: Address) -> Path:
    """Return the same of an address."""
    return copy_of(*protocol_and_path(str(address)))
