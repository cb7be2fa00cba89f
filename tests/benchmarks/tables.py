"""The digest of a table, for tests outside of this folder."""

from table_sha256 import table_sha256

__all__ = ["table_sha256"]
