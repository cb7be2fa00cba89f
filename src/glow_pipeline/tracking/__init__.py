"""The MLflow record of runs."""
