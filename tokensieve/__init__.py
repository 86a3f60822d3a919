"""tokensieve: retrain, promote and serve small text classifiers by token-driven sparse fine-tuning."""

__version__ = "0.1.0"
