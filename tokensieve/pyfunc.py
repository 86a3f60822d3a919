"""The former name of `tokensieve.inference.mlflow_model`, for models that were registered before version 0.2."""

from tokensieve.inference.mlflow_model import _load_pyfunc

__all__ = ["_load_pyfunc"]
