"""Sweeps: training with other settings, seeds and folds, and what the settings are worth."""
