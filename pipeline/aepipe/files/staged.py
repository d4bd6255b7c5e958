"""Writes results whole or not at all: first to a temporary place, from which they are moved to where they belong."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from aepipe.errors import AepipeError


def _nearest(folder: Path) -> Path:
    """`folder` itself if it exists, else the closest place above it that exists."""
    return next(place for place in (folder, *folder.parents) if place.exists())


def _temporary(home: Path) -> Path:
    return home / f".aepipe-{os.getpid()}-{secrets.token_hex(4)}.part"


def is_leftover(path: Path) -> bool:
    """Whether this is a temporary file or folder that a process left when it was killed while writing."""
    return path.name.startswith(".aepipe-") and path.suffix == ".part"


def remove_leftovers(folder: Path) -> None:
    """Remove every leftover (see `is_leftover`) in `folder` and below it."""
    for path in list(filter(is_leftover, folder.rglob("*"))):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


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
        hint = "write to a file instead"
        raise AepipeError(f"Cannot write {path}: it has no character for {error.object!r}", hint) from error


class Staged:
    """A temporary file or folder, which commit() moves to `path`.

    It lies in the closest existing folder above `path`, which is on the same file system, so that moving it is a rename.
    Missing folders are made only by commit(): a run that is aborted leaves none behind.
    """

    def __init__(self, path: str | os.PathLike[str], folder: bool = False):
        with writing(path):
            self.path = Path(path).resolve()  # if `path` is a link, the file it leads to is replaced and the link stays
            self.temporary = _temporary(_nearest(self.path if folder else self.path.parent))

    def commit(self) -> None:
        """Move the temporary file or folder to `path`."""
        if self.temporary.parent == self.path:  # `path` is an empty folder, perhaps a mount point: it stays
            for child in list(self.temporary.iterdir()):
                child.rename(self.path / child.name)
            self.temporary.rmdir()
        else:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.temporary.replace(self.path)

    def discard(self) -> None:
        """Remove the temporary file or folder if it has not been committed."""
        with contextlib.suppress(OSError):
            if self.temporary.is_dir():
                shutil.rmtree(self.temporary, ignore_errors=True)
            else:
                self.temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary path to write to, which replaces `path` if the block succeeds. Raises AepipeError if it cannot."""
    staged = Staged(path)
    try:
        with writing(path):
            yield staged.temporary
            staged.commit()
    finally:
        staged.discard()
