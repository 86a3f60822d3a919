"""Serving: latency, throughput, memory and size of exported models."""
