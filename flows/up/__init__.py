"""`tokensieve up`: all servers of a project on one machine."""
