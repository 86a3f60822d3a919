"""The classifier: a pretrained encoder with a linear head, its batches, and patches of its weights."""
