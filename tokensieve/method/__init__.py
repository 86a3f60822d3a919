"""Token-driven sparse fine-tuning: constructs, vocabulary, scores, mask and sparse layers (arXiv 2508.08635)."""
