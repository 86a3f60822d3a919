"""Compare the method with its rivals on labelled texts."""
