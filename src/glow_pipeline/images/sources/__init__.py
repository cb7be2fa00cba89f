"""Sources of images: one file a source, the registry, and what they share."""
