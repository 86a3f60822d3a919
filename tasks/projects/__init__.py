"""Make, open, move and upgrade a project folder."""
