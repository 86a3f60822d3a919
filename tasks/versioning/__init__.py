"""Data versions and the pipeline in DVC and git."""
