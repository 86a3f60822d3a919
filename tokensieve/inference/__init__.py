"""Predictions of an exported model. Needs only numpy, onnxruntime and tokenizers."""
