"""Failures of remote storage."""

import re
import sys

SCHEME = re.compile(r"[a-z][a-z0-9+.-]+:", re.IGNORECASE)  # two letters or more: C:\ is a folder
# Exceptions of storage clients. None is a dependency; only a client that is imported can have raised one.
FAILURES = (
    ("aiohttp.client_exceptions", "ClientError"),
    ("azure.core.exceptions", "AzureError"),
    ("boto3.exceptions", "Boto3Error"),
    ("botocore.exceptions", "BotoCoreError"),
    ("botocore.exceptions", "ClientError"),
    ("gcsfs.retry", "HttpError"),
    ("google.api_core.exceptions", "GoogleAPIError"),
    ("google.auth.exceptions", "GoogleAuthError"),
)


def storage_failures() -> tuple[type[Exception], ...]:
    """Return the exceptions of storage that is missing, refuses or does not answer, or lacks its package."""
    found = [getattr(sys.modules[module], name) for module, name in FAILURES if module in sys.modules]
    return OSError, ImportError, *found


def has_scheme(place: str) -> bool:
    r"""Return whether a place begins with the scheme of an address, as `s3:` or `file:`; C:\ is a folder."""
    return SCHEME.match(place) is not None
