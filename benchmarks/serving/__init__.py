"""Measure latency, throughput, memory and size of exported models and their server."""
