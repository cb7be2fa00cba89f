"""The fast path: the map of the plain layers, computed in fewer operations."""
