"""Writes results whole or not at all: first to a temporary place, from which they are moved to where they belong.

A temporary file or folder is named after the machine and the process that writes it. What a process left when it was killed is
therefore known for what it is, and the next run that writes there removes it; what a living process writes is left alone.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import json
import os
import platform
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePath

from aepipe.errors import AepipeError

MOVING = ".aepipe-moving"  # in an old folder, while what is not ours moves from it into the new one


def _nearest(folder: Path) -> Path:
    """`folder` itself if it exists, else the closest place above it that exists."""
    return next(place for place in (folder, *folder.parents) if place.exists())


def _host() -> str:
    return re.sub(r"[^a-zA-Z0-9]", "", platform.node())[:24] or "host"


def _temporary(home: Path) -> Path:
    return home / f".aepipe-{_host()}-{os.getpid()}-{secrets.token_hex(4)}.part"


def is_leftover(path: Path) -> bool:
    """Whether this is a temporary file or folder of aepipe: of a process that was killed, or of one that still writes."""
    return path.name.startswith(".aepipe-") and path.suffix == ".part"


def is_dead(path: Path) -> bool:
    """Whether the process that wrote this temporary file or folder is gone. Of another machine's nobody knows."""
    parts = path.name.removesuffix(".part").split("-")
    if len(parts) == 3:  # earlier versions did not say the machine
        parts.insert(1, _host())
    return len(parts) == 4 and parts[1] == _host() and parts[2].isdecimal() and not is_alive(int(parts[2]))


def is_alive(pid: int) -> bool:
    """Whether a process of this machine runs."""
    if pid == os.getpid():
        return True
    if os.name == "nt":  # os.kill would end it
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it belongs to another user
        pass
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """Whether a process has ended and only its parent has not asked for the exit code yet; in a container nobody may ever ask."""
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state in (b"Z", b"X")


def remove_leftovers(folder: Path, deep: bool = False) -> None:
    """Remove what processes that are gone have left in `folder`, with `deep` below it too."""
    with contextlib.suppress(OSError):
        found = folder.rglob(".aepipe-*.part") if deep else folder.glob(".aepipe-*.part")
        for path in list(found):
            if is_dead(path):
                with contextlib.suppress(OSError):
                    remove_tree(path)


def remove_tree(path: Path) -> None:
    """Remove a temporary file or folder.

    It may be an old folder whose successor is in place already, from which things that are not ours were moving when the
    process was killed: then they are moved first, and what cannot be moved stays.
    """
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    note = path / MOVING
    if note.exists():
        try:
            name, others = json.loads(note.read_text(encoding="utf-8"))
            safe = PurePath(name).name == name and all(".." not in PurePath(each).parts for each in others)
        except (ValueError, TypeError):
            safe = False
        if not safe:
            return
        move_entries(path, path.parent / name, others)
        if any(os.path.lexists(path / each) for each in others):
            return
    shutil.rmtree(path, ignore_errors=True)


def move_entries(source: Path, target: Path, entries: list[str]) -> None:
    """Move files and folders, by relative path, from one folder to another; what is there already stays."""
    for each in entries:
        if os.path.lexists(source / each) and not os.path.lexists(target / each):
            (target / each).parent.mkdir(parents=True, exist_ok=True)
            (source / each).rename(target / each)


@contextlib.contextmanager
def writing(path: object) -> Iterator[None]:
    """Turns an OSError of the block into an AepipeError that names `path`."""
    try:
        yield
    except BrokenPipeError:  # whoever reads stdout has stopped on purpose, so that the command line ends quietly
        raise
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", None))
        hint = "free some space or choose another place" if full else "choose a place that can be written"
        raise AepipeError(f"Cannot write {path}: {error.strerror or error}", hint) from error
    except UnicodeEncodeError as error:
        hint = "set PYTHONUTF8=1, or write to a file with a plain name"
        raise AepipeError(f"Cannot write {path}: it has no character for {error.object!r}", hint) from error


class Staged:
    """A temporary file or folder, which commit() moves to `path`.

    It lies in the closest existing folder above `path`, which is on the same file system, so that moving it is a rename.
    With `folder`, and where a folder is a mount point or its parent cannot be written, it lies inside. Missing folders are made
    only by commit(): a run that is aborted leaves none behind.
    """

    def __init__(self, path: str | os.PathLike[str], folder: bool = False):
        with writing(path):
            self.path = Path(path).expanduser().resolve()  # a link to a file stays a link
            inside = folder or (self.path.is_dir() and _must_stay(self.path))
            home = _nearest(self.path if inside else self.path.parent)
            remove_leftovers(home)
            self.temporary = _temporary(home)
            _unfinished[self] = os.getpid()

    @property
    def inside(self) -> bool:
        """Whether it lies in `path` itself."""
        return self.temporary.parent == self.path

    def commit(self, last: str = "") -> None:
        """Move it into place. If it lies inside `path`, its files move one by one, `last` after all others."""
        if self.inside:  # the folder stays, because it may be a mount point
            children = sorted(self.temporary.iterdir(), key=lambda child: (child.name == last, child.name))
            for child in children:
                child.rename(self.path / child.name)
            self.temporary.rmdir()
        else:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.temporary.replace(self.path)

    def discard(self) -> None:
        """Remove the temporary file or folder if it has not been committed."""
        with contextlib.suppress(OSError):
            remove_tree(self.temporary)
        _unfinished.pop(self, None)


_unfinished: dict[Staged, int] = {}  # and the process that began it


@atexit.register
def _discard_unfinished() -> None:
    """A signal may come between the lines that would discard it. A child that was forked leaves its parent's alone."""
    for each, pid in list(_unfinished.items()):
        if pid == os.getpid():
            each.discard()


def _must_stay(folder: Path) -> bool:
    """Whether a folder cannot be replaced by another of its name."""
    return folder.is_mount() or not os.access(folder.parent, os.W_OK)


def sync(path: Path) -> None:
    """Have the system write a file, or a folder with all that is in it, to the disk: a loss of power cannot undo it then."""
    for each in [*(path.rglob("*") if path.is_dir() else ()), path]:
        flags = os.O_RDONLY | getattr(os, "O_BINARY", 0)
        with contextlib.suppress(OSError):  # a file system may have no such call
            descriptor = os.open(each, flags)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary path to write a file to; it replaces `path` if the block succeeds. Raises AepipeError."""
    staged = Staged(path)
    try:
        with writing(path):
            yield staged.temporary
            staged.commit()
    finally:
        staged.discard()
