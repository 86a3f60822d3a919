"""Token-driven sparse fine-tuning (after arXiv 2508.08635): its steps, one file each.

The steps are constructs, vocabulary, scores, mask and sparse layers.
"""
