"""What may be wrong with labelled texts: copies, wrong labels, overlapping classes, outliers."""
