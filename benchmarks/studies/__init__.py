"""Answer one question about the product per module, on labelled texts."""
