"""Kedro-Viz: the pipelines as a picture, with the newest results in it."""
