"""Other servers around the same predictor, each run by `benchmarks.serving` in an environment of its own."""
