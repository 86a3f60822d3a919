"""Predict with an exported model. Only numpy, onnxruntime and tokenizers are needed."""
