"""Train the Glow normalizing flow on images, sample from it, and find the images that do not belong."""

__version__ = "0.1.0"
