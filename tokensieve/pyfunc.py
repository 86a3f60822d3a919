"""The former name of `tokensieve.inference.mlflow_model`.

Models that were registered before version 0.2 name this module.
"""

from tokensieve.inference.mlflow_model import _load_pyfunc

__all__ = ["_load_pyfunc"]
