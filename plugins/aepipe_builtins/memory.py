"""Refuses what needs more memory than there is, before the system has to kill it."""

from __future__ import annotations

from aepipe.process import free_memory


def require_memory(needed: int, what: str, way_out: str) -> None:
    """Raise ValueError, which ends in `way_out`, where `what` needs more bytes than are free."""
    free = free_memory()
    if needed > free:
        message = f"{what} needs about {needed / 2**30:,.1f} GiB of memory, and {free / 2**30:,.1f} GiB are free"
        raise ValueError(f"{message}; {way_out}")
