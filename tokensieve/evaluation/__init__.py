"""Metrics, calibration, the evaluation report, plots, and behaviour tests."""
