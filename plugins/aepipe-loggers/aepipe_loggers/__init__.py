"""Loggers for aepipe: each module has the hooks of one, and imports its package when a run starts."""
