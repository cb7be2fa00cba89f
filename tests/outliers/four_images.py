"""Scores of four images, of which two are outliers."""

import math

import numpy as np

IS_OUT = np.array([False, False, True, True])
VALUES = {
    "nll_bits_per_dim": np.array([1.0, 2.0, 3.0, math.inf]),
    "brightness_levels": np.array([4.0, 3.0, 2.0, 1.0]),
}
COMPARED = {"n_in": 2, "n_out": 2, "in_dataset": "digits", "out_dataset": "textures"}
