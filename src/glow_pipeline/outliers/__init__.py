"""Outlier scores, and how well they separate outliers from images of the training distribution."""
