"""The model with its detector as an MLflow model that answers requests."""
