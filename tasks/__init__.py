"""One file a stage or vendor: what is read and written around one library call."""
