"""The same flow computed in fewer operations."""
