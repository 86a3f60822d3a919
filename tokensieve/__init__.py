"""tokensieve: retrain, promote and serve small text classifiers by token-driven sparse fine-tuning."""

import os

__version__ = "0.1.0"

# onnxruntime (1.29 and newer) sends usage reports and writes files under HOME. It reads this variable once, when it is
# imported, so it must be set before. Whatever imports onnxruntime for us imports this package first: each command, each
# child process, MLflow's pyfunc and Spark's workers. A value that the user has set is kept.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
