"""tokensieve: retrain, promote and serve small text classifiers by token-driven sparse fine-tuning."""

from tokensieve.environment import prepare

__version__ = "0.1.0"

# onnxruntime, Prefect and others read their variables once, when they are imported. Whatever imports them for us imports this
# package first: each command, each child process, MLflow's pyfunc and Spark's workers.
prepare()
