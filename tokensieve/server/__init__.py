"""The HTTP service: schema and limits of requests, the batcher, the live model, the meters, and the app that joins them."""
