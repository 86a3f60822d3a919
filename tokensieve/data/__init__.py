"""Read, check, split and write labelled texts."""
