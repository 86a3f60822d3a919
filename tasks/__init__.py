"""The stages of the pipeline, one file per stage, and what they need of DVC, MLflow and the project's folder."""
