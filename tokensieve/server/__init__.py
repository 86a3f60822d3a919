"""The inference server: HTTP, dynamic batching, hot reload and metrics."""
