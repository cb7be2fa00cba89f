"""Fitting a Glow to images by maximum likelihood."""
