"""Conformal p-values and what follows from them; numpy and SciPy only, one concept a file."""
