"""Keeping the memory that a training step frees for the next one, instead of giving it back to the system each time."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

# Of glibc's mallopt(3).
TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4
NEVER = -1


@contextmanager
def kept_heap() -> Iterator[None]:
    """Within this block glibc keeps freed memory: activations of megabytes would otherwise be mapped, and filled with zeros
    by the system, anew in every step. Elsewhere than on glibc it changes nothing.
    """
    try:
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018  # glibc, and not another that has a mallopt of its own
    except (OSError, TypeError, AttributeError):
        yield
        return
    _set(libc, {MMAP_MAX: 0, TRIM_THRESHOLD: NEVER})
    try:
        yield
    finally:
        # What glibc's own, moving thresholds end at; once set, they move no longer.
        _set(libc, {MMAP_MAX: 65536, MMAP_THRESHOLD: 32 << 20, TRIM_THRESHOLD: 64 << 20})
        libc.malloc_trim(ctypes.c_size_t(0))


def _set(libc: ctypes.CDLL, options: dict[int, int]) -> None:
    for option, value in options.items():
        libc.mallopt(option, value)
