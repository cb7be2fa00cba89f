"""Figures. Each function returns a matplotlib Figure (or a Movie) and touches no global state."""
