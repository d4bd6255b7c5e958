"""One training at a time in one folder: a lock that ends with the process which holds it, however that ends."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from aepipe.errors import BadInput
from aepipe.files.staged import writing

LOCK = ".aepipe.lock"


@contextlib.contextmanager
def only_here(directory: Path) -> Iterator[None]:
    """A block in which no other process trains in `directory`; raises BadInput that names the process which does."""
    try:
        import fcntl
    except ImportError:  # not a POSIX system
        yield
        return
    path = directory / LOCK
    while True:
        with writing(path):
            file = path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = file.read().strip() or "another process"
            file.close()
            message = f"{owner} is training in {directory}"
            raise BadInput(message, "wait for it, or choose another folder with -o") from None
        except OSError:  # a file system without locks
            break
        if _is_still(path, file.fileno()):
            break
        file.close()  # whoever held it has removed it in the meantime
    try:
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
        file.close()


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
