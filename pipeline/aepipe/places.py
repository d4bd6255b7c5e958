"""Where a result may lie, and how it gets there whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath

from aepipe.errors import AepipeError, BadInput, closest

_KINDS = {
    "png": ".png",
    "npy": ".npy",
    "npz": ".npz",
    "csv": ".csv",
    "html": ".html",
    "folder": "a folder ending with /",
}


def output_kind(path: str | os.PathLike[str], allowed: tuple[str, ...]) -> str:
    """What OUT asks for by its ending: "png", "npy", "npz", "csv" or "folder" (no ending, or a trailing slash).

    "-" is "csv" on stdout. Raises BadInput for a kind that is not in `allowed` and for a place that cannot take it;
    leaves nothing behind, so that it can be called before any computing.
    """
    text = os.fspath(path)
    ending = PurePath(text).suffix.lower()
    if text == "-":
        kind = "csv"
    elif text.endswith(("/", os.sep)) or not ending:
        kind = "folder"
    else:
        kind = ending.removeprefix(".")
    if not text or kind not in allowed:
        what = {"-": "stdout"}.get(text, "a folder" if kind == "folder" else ending)
        raise BadInput(
            f"The output {text!r} cannot be used: this command does not write {what}",
            closest(ending, [_KINDS[name] for name in allowed]),
        )
    if text != "-":
        _check_place(text, folder=kind == "folder")
    return kind


def _check_place(text: str, folder: bool) -> None:
    try:
        target = Path(text).resolve()
        if folder and target.exists() and not target.is_dir():
            raise BadInput(f"The output {text} is a file that exists, but a folder is needed", "choose another name")
        if folder and target.is_dir() and any(target.iterdir()):
            raise BadInput(f"The output folder {text} is not empty", "choose another folder or remove it")
        if not folder and target.is_dir():
            raise BadInput(f"The output {text} is a folder that exists, but a file is needed", "choose another name")
        home = _nearest(target if folder else target.parent)
        if not home.is_dir():
            raise BadInput(f"The output {text} cannot be created, because {home} is a file", "choose another folder")
        probe = _temporary(home)  # permission bits say nothing to root, nor about read-only and special file systems
        probe.touch(exist_ok=False)
        probe.unlink()
    except (OSError, RuntimeError, ValueError) as error:  # pathlib: RuntimeError for a link loop, ValueError for NUL
        cause = getattr(error, "strerror", None) or error
        hint = "choose a folder that can be written"
        raise BadInput(f"The output {text!r} cannot be written: {cause}", hint) from error


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

    def swap(self) -> None:
        """commit() where a folder may be, which is removed only then."""
        old = self.temporary.with_suffix(".old")
        if self.path.exists():
            self.path.rename(old)
        try:
            self.commit()
        except OSError:
            if old.exists():
                old.rename(self.path)
            raise
        shutil.rmtree(old, ignore_errors=True)

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


def png_name(name: str, keep: bool = False) -> str:
    """The relative path of the PNG for an input: "a/b.jpg" gives a/b.png, with `keep` a/b.jpg.png."""
    path = PurePath(name)
    if path.is_absolute() or path.drive or ".." in path.parts or not path.name or "\0" in name:
        raise BadInput(f"The name {name!r} leads out of the output folder", "give a relative path without '..'")
    return str(path.with_name(path.name + ".png") if keep else path.with_name(path.stem + ".png"))


def png_names(names: Sequence[str]) -> list[str]:
    """png_name of each, all different: names that would collide keep their ending. Raises BadInput."""
    chosen = [png_name(name) for name in names]
    full = [png_name(name, keep=True) for name in names]
    while True:  # a full name may meet the short name of a third ("x.jpg.gif"), which then gives way as well
        seen = Counter(chosen)
        clashes = [index for index, name in enumerate(chosen) if seen[name] > 1 and name != full[index]]
        if not clashes:
            break
        for index in clashes:
            chosen[index] = full[index]
    if len(seen) < len(chosen):
        name = max(seen, key=lambda each: seen[each])
        raise BadInput(f"Two inputs would both be written as {name}", "give every input a name of its own")
    return chosen
