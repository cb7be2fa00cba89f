"""The graphs: which node makes what from what."""
