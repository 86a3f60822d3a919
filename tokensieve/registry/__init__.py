"""Read and change an MLflow registry without importing MLflow."""
