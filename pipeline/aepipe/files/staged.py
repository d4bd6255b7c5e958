"""Where a result may lie, and how it gets there whole or not at all."""

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
    """`folder` or the closest place above it that exists."""
    return next(place for place in (folder, *folder.parents) if place.exists())


def _temporary(home: Path) -> Path:
    return home / f".aepipe-{os.getpid()}-{secrets.token_hex(4)}.part"


def is_leftover(path: Path) -> bool:
    """Whether a process that was killed while writing left this."""
    return path.name.startswith(".aepipe-") and path.suffix == ".part"


def remove_leftovers(folder: Path) -> None:
    """Remove what processes that were killed while writing left anywhere in `folder`."""
    for path in list(filter(is_leftover, folder.rglob("*"))):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


@contextlib.contextmanager
def writing(path: object) -> Iterator[None]:
    """Turns an OSError of the block into an AepipeError that names `path`."""
    try:
        yield
    except BrokenPipeError:  # the reader of stdout has gone on purpose: the command line ends quietly
        raise
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", None))
        hint = "free some space or choose another place" if full else "choose a place that can be written"
        raise AepipeError(f"Cannot write {path}: {error.strerror or error}", hint) from error
    except UnicodeEncodeError as error:
        hint = "write to a file instead"
        raise AepipeError(f"Cannot write {path}: it has no character for {error.object!r}", hint) from error


class Staged:
    """A temporary place that becomes `path` by commit().

    It lies in the closest folder that exists, hence on the same file system; missing parents are made only at the end,
    so that an abort leaves nothing.
    """

    def __init__(self, path: str | os.PathLike[str], folder: bool = False):
        with writing(path):
            self.path = Path(path).resolve()  # a link to a file stays a link
            self.temporary = _temporary(_nearest(self.path if folder else self.path.parent))

    def commit(self) -> None:
        if self.temporary.parent == self.path:  # an empty folder that was there may be a mount point: it stays
            for child in list(self.temporary.iterdir()):
                child.rename(self.path / child.name)
            self.temporary.rmdir()
        else:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.temporary.replace(self.path)

    def discard(self) -> None:
        """Removes what has not been committed."""
        with contextlib.suppress(OSError):
            if self.temporary.is_dir():
                shutil.rmtree(self.temporary, ignore_errors=True)
            else:
                self.temporary.unlink(missing_ok=True)


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
