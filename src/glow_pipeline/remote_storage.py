"""Failures of storages that are not a local disk."""

import sys

# What their clients raise. None is a dependency; only one that is imported can have raised.
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
    """Return what is raised for a storage that is missing, refuses or does not answer, or whose package is missing."""
    found = [getattr(sys.modules[module], name) for module, name in FAILURES if module in sys.modules]
    return OSError, ImportError, *found
