"""One process at a time: a lock file, made exclusively, that says who holds it."""

from __future__ import annotations

import contextlib
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from aepipe.errors import BadInput
from aepipe.progress import say

from .staged import is_alive, writing


@contextlib.contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file `path` within the block; `what` is what messages call the thing that it keeps.

    Raises BadInput where another process holds it. A lock whose process is gone is taken over, and that is said. Of another
    machine's process nobody knows whether it runs, so its lock is left to the user.
    """
    with writing(path):
        while not _made(path):
            _refuse_or_clear(path, what)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()


def _made(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump({"pid": os.getpid(), "host": platform.node()}, file)
    return True


def _refuse_or_clear(path: Path, what: str) -> None:
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        pid, host = int(holder["pid"]), str(holder["host"])
    except FileNotFoundError:
        return  # it went away in this moment
    except (ValueError, KeyError, TypeError):
        raise BadInput(
            f"{what} is locked by {path}, which says not by whom", "remove that file if nobody writes"
        ) from None
    if host == platform.node() and not is_alive(pid):
        say(f"note: a process that wrote {what} was killed; its lock is taken over")
        path.unlink(missing_ok=True)
        return
    message = f"{what} is being written by process {pid}" + ("" if host == platform.node() else f" of {host}")
    raise BadInput(message, f"wait for it, or remove {path} if it runs no longer")
