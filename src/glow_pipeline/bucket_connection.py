"""Connections to object storage (S3, Google Cloud, Azure), by `pyarrow.fs`, which is imported when one is made."""

import os
from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache
from typing import Any

from glow_pipeline.errors import GlowPipelineError

# Options of `pyarrow.fs` that a person can give, with the names that s3fs, gcsfs and adlfs have for them.
OPTIONS = {
    "s3": (
        *("access_key", "secret_key", "session_token", "anonymous", "region", "endpoint_override", "scheme"),
        *("role_arn", "session_name", "external_id", "proxy_options", "force_virtual_addressing", "tls_ca_file_path"),
        *("request_timeout", "connect_timeout"),
    ),
    "gs": ("anonymous", "project_id", "target_service_account", "scheme", "endpoint_override"),
    "abfs": (
        *("account_name", "account_key", "sas_token", "tenant_id", "client_id", "client_secret"),
        *("blob_storage_authority", "blob_storage_scheme", "dfs_storage_authority", "dfs_storage_scheme"),
    ),
}
ALIASES = {
    "key": "access_key",
    "secret": "secret_key",
    "token": "session_token",
    "anon": "anonymous",
    "endpoint_url": "endpoint_override",
    "region_name": "region",
    "project": "project_id",
}
# S3 asks again after 1, 2, 4, ... seconds at most; Google's client does so for 15 minutes by default.
ATTEMPTS = 5
# Without a byte, so that a slow transfer goes on as long as it takes. Clouds begin to answer within a second.
CONNECT_SECONDS, SILENT_SECONDS = 5, 10
RETRY_SECONDS = 60


def connection_options(address: str, *given: Mapping[str, Any] | None) -> tuple[tuple[str, Any], ...]:
    """Return the options of a catalog entry, by the names that `pyarrow.fs` has for them.

    Args:
        address: of the entry.
        given: its credentials and its fs_args.

    Raises:
        GlowPipelineError: `pyarrow.fs` has no such option.
    """
    allowed = OPTIONS[storage_of(address)]
    flat = {name: value for each in given for name, value in (each or {}).items()}
    flat |= flat.pop("client_kwargs", {})  # of s3fs
    options = {ALIASES.get(name, name): value for name, value in flat.items()}
    for name in options:
        if name not in allowed:
            raise GlowPipelineError(f"{address}: credentials: {name}: not an option; these are: {', '.join(allowed)}")
    return tuple(sorted(options.items()))


def storage_of(address: str) -> str:
    """Return the kind of storage, a key of `OPTIONS`, of an address or its scheme."""
    return "s3" if address.startswith("s3") else "gs" if address.startswith("g") else "abfs"


@lru_cache(maxsize=16)  # one connection, however many addresses are used
def connected(_pid: int, kind: str, host: str, options: tuple[tuple[str, Any], ...], endpoint: str | None) -> Any:
    """Return a file system of this process: a forked one has no use for the connections of another."""
    from pyarrow import fs

    given = dict(options)
    if kind == "s3":
        if endpoint and "endpoint_override" not in given:
            given["endpoint_override"] = endpoint
        if "endpoint_override" not in given and not {"AWS_REGION", "AWS_DEFAULT_REGION"} & os.environ.keys():
            given.setdefault("region", fs.resolve_s3_region(host))
        return fs.S3FileSystem(
            **{"connect_timeout": CONNECT_SECONDS, "request_timeout": SILENT_SECONDS, **given},
            retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
            allow_delayed_open=True,  # a small file is one request
        )
    if kind == "gs":
        return fs.GcsFileSystem(**given, retry_time_limit=timedelta(seconds=RETRY_SECONDS))
    account = host.partition("@")[2].partition(".")[0] or os.environ.get("AZURE_STORAGE_ACCOUNT_NAME")
    if not given.setdefault("account_name", account):
        raise GlowPipelineError(
            f"abfs://{host}: no storage account; write abfs://container@account.dfs.core.windows.net/folder, or set "
            f"AZURE_STORAGE_ACCOUNT_NAME"
        )
    return fs.AzureFileSystem(**given)
