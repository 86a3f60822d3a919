"""The classifier, a pretrained encoder with a linear head; its batches; patches of its weights."""
