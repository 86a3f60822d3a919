"""Studies: each module answers one question about the product."""
