"""ONNX: the graph, its variants, the choice among them, and packages made of it."""
