"""The report of a run: its content is gathered here, and `tokensieve/report` renders it."""
