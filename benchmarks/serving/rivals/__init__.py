"""Other servers with the same predictor.

`benchmarks.serving.run` runs each in an environment of its own.
"""
