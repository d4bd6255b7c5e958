"""One training at a time in one folder: a lock on the folder itself, which ends with the process that holds it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from aepipe.errors import BadInput
from aepipe.files.staged import writing


@contextlib.contextmanager
def only_here(directory: Path) -> Iterator[None]:
    """A block in which no other process of this machine trains in `directory`; raises BadInput where one does.

    Nothing is written, so that a kill leaves nothing behind. Some network file systems have no such locks; there two trainings
    are told apart by run.json alone.
    """
    try:
        import fcntl
    except ImportError:  # not a POSIX system
        yield
        return
    with writing(directory):
        descriptor = os.open(directory, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                message = f"another process is training in {directory}"
                raise BadInput(message, "wait for it, or choose another folder with -o") from None
        yield
    finally:
        os.close(descriptor)
