"""Training: the method and its rivals on labelled texts."""
