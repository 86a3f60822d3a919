"""Which version is the champion, and why."""
