"""Export a classifier to ONNX: its graph, variants of it, the choice among them, and packages."""
