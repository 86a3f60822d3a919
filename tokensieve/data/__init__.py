"""Labelled texts: read, checked, split and written."""
