"""Whether today's traffic is like the texts that the champion was tested on."""
