"""Whether the texts of today are still like the texts that a model was tested on."""
