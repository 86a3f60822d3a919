"""Clients of an MLflow registry that do not import MLflow."""
