"""The stages of the pipeline, one file per stage.

The folders contain what the stages need of DVC, MLflow and the project's folder.
"""
