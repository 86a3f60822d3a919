"""The training loop: epochs, early stopping, checkpoints and the device."""
