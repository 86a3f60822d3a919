"""tokensieve: retrain, promote and serve small text classifiers by token-driven sparse fine-tuning.

    from tokensieve import Predictor, fit

Training needs the extra `train`; `Predictor` needs only the base installation. Both are imported
when they are first used.
"""

from __future__ import annotations

from tokensieve.environment import prepare

TYPE_CHECKING = False  # typing.TYPE_CHECKING, without the import of typing in every process
if TYPE_CHECKING:
    from tokensieve.api import FittedClassifier, fit
    from tokensieve.inference.prediction import Prediction
    from tokensieve.inference.predictor import Predictor

__all__ = ["FittedClassifier", "Prediction", "Predictor", "__version__", "fit"]
__version__ = "0.1.0"

_MODULES = {
    "FittedClassifier": "tokensieve.api",
    "Prediction": "tokensieve.inference.prediction",
    "Predictor": "tokensieve.inference.predictor",
    "fit": "tokensieve.api",
}

# Prefect, onnxruntime and other libraries read their environment variables once, on import. Every
# command, child process and Spark worker imports this package first.
prepare()


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module 'tokensieve' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
