"""The old place of `tokensieve.inference.mlflow_model`, which models registered before version 0.2 name."""

from tokensieve.inference.mlflow_model import _load_pyfunc

__all__ = ["_load_pyfunc"]
