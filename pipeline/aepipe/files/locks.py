"""One process at a time: a lock file that says who holds it.

The system ends a lock with its process, however that ends, where the file system has locks (flock): a lock file that nobody
holds is one that a kill has left. Elsewhere whoever makes the file has the lock, and one that was left is known by its process,
which is gone.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import platform
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import NoReturn

from aepipe.errors import BadInput
from aepipe.progress import say

from .regular import check_regular, read_regular
from .staged import is_alive, writing

WITHOUT = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK, errno.EINVAL)  # the file system has no locks
LONGEST = 255  # bytes of a name, on nearly all file systems
POLL = 0.05  # seconds between two looks at a lock that is waited for
SIGNING = 10  # so many looks at a lock that does not say by whom it is held: its holder may not have written that yet

Holder = tuple[int, str]  # a process and its machine


def lock_beside(path: Path) -> Path:
    """The lock file of something that is written, beside it; a name that would be too long is shortened to what tells it apart."""
    name = f".aepipe-{path.name}.lock"
    if len(os.fsencode(name)) > LONGEST:
        name = f".aepipe-{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:32]}.lock"
    return path.parent / name


@contextlib.contextmanager
def locked(path: Path, what: str, *, wait: bool = False) -> Iterator[None]:
    """Hold the lock file `path` within the block; `what` is what messages call the thing that it keeps.

    Raises BadInput where another process holds it, or with `wait` says so and waits. A lock that was left is taken over, and
    that is said. Another thread of this process counts as another process.
    """
    said = False
    for attempt in count():
        with writing(path):
            descriptor = _taken(path, what)
        if descriptor is not None:
            break
        holder = _holder(path)
        if not wait and (holder is not None or attempt >= SIGNING):
            _refuse(path, what, holder)
        if wait and holder is not None and not said:
            say(f"note: waiting for process {holder[0]}, which writes {what}")
            said = True
        time.sleep(POLL)
    assert descriptor is not None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(descriptor)


def _taken(path: Path, what: str) -> int | None:
    """The open lock file, if nobody else holds it."""
    try:
        import fcntl
    except ImportError:  # not a POSIX system
        return _made(path, what)
    if os.path.lexists(path) and not path.is_symlink():
        check_regular(path, "remove it")  # to open a pipe could wait for ever
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | getattr(os, "O_NOFOLLOW", 0), 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError as error:
        os.close(descriptor)
        if error.errno not in WITHOUT:
            raise
        return _made(path, what, opened=True)
    if not _is_at(descriptor, path):  # the one that held it has removed the file meanwhile
        os.close(descriptor)
        return _taken(path, what)
    left = _holder(path)
    unknown = left is None and os.fstat(descriptor).st_size > 0
    if unknown or (left is not None and left[1] != platform.node()):  # locks may not reach from one machine to another
        os.close(descriptor)
        return None
    if left is not None:
        say(f"note: a process that wrote {what} was killed; its lock is taken over")
    return _signed(descriptor)


def _made(path: Path, what: str, opened: bool = False) -> int | None:
    """The same where the file system has no locks: of several processes one makes the file."""
    holder = _holder(path)
    if holder is not None and holder[1] == platform.node() and not is_alive(holder[0]):
        say(f"note: a process that wrote {what} was killed; its lock is taken over")
        path.unlink(missing_ok=True)
    elif opened and holder is None:  # it was made by the attempt to lock it
        path.unlink(missing_ok=True)
    try:
        return _signed(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644))
    except FileExistsError:
        return None


def _signed(descriptor: int) -> int:
    """The lock file with the name of its holder in it."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "host": platform.node()}).encode(), 0)
    return descriptor


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _holder(path: Path) -> Holder | None:
    """Who the lock file names; None where it names nobody."""
    try:
        named = json.loads(read_regular(path))
        return int(named["pid"]), str(named["host"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError, BadInput):
        return None


def _refuse(path: Path, what: str, holder: Holder | None) -> NoReturn:
    if holder is None:
        raise BadInput(f"{what} is locked by {path}, which says not by whom", "remove that file if nobody writes")
    pid, host = holder
    message = f"{what} is being written by process {pid}" + ("" if host == platform.node() else f" of {host}")
    raise BadInput(message, f"wait for it, or remove {path} if it runs no longer")
