"""Densities of numbers that describe images, fitted on validation images."""
