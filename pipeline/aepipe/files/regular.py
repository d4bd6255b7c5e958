"""Files that may be opened: a pipe, a socket or a device could wait for ever, or do something."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from aepipe.errors import BadInput

KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


FILE = "give a file"


def read_regular(path: Path) -> bytes:
    """All that a file holds; raises BadInput for what is no regular file, and OSError."""
    check_regular(path, FILE)
    return path.read_bytes()


def check_regular(path: Path, hint: str) -> os.stat_result:
    """Raise BadInput for what is no regular file, links followed, without opening it; OSError where there is nothing."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        kind = KINDS.get(stat.S_IFMT(found.st_mode), "no file")
        raise BadInput(f"{path} is {kind}, not a file", hint)
    return found
