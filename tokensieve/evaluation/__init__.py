"""Metrics, calibration, reports and pictures of a model's quality."""
