"""Keeps the memory that a training step frees for the next step, instead of giving it back to the system each time."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

# These are the numbers of options in glibc's mallopt(3).
TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4
NEVER = -1


@contextmanager
def kept_heap() -> Iterator[None]:
    """Within this block glibc keeps freed memory. Otherwise the system would map the memory of large activations, and fill it
    with zeros, again in every step. With another C library this does nothing.
    """
    try:
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018  # other libraries, which may have a mallopt too, lack this
    except (OSError, TypeError, AttributeError):
        yield
        return
    _set(libc, {MMAP_MAX: 0, TRIM_THRESHOLD: NEVER})
    try:
        yield
    finally:
        # glibc itself would raise these thresholds step by step up to these values. Once set, they stay fixed, so that the
        # largest values are set.
        _set(libc, {MMAP_MAX: 65536, MMAP_THRESHOLD: 32 << 20, TRIM_THRESHOLD: 64 << 20})
        libc.malloc_trim(ctypes.c_size_t(0))


def _set(libc: ctypes.CDLL, options: dict[int, int]) -> None:
    for option, value in options.items():
        libc.mallopt(option, value)
