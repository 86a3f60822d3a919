"""Other servers around the same predictor, each run by `benchmarks.serving.run` in an environment of its own."""
