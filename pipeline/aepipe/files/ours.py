"""Folders that aepipe writes as a whole: what in them is ours, and how a new one takes the place of an old one.

Only files that aepipe wrote are ever replaced or removed. A bundle's manifest and a run's run.json say which those are; a
folder of another kind carries a list of its own. Whatever else lies in the folder stays.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from aepipe.errors import BadInput

from .locks import lock_beside, locked
from .records import as_record, read_json
from .staged import MOVING, Staged, is_leftover, remove_leftovers, remove_tree, sync, writing

LIST = ".aepipe.json"  # names what aepipe wrote into a folder that has no manifest
MARKS = {"manifest.json": ("bundle", "pair"), "run.json": ("run", "densities_wanted"), LIST: ("folder", "files")}


@dataclass
class _Listing:
    kind: str
    files: tuple[str, ...]


@dataclass(frozen=True)
class OwnFolder:
    """A folder for one result, such as a bundle.

    `files_of` gives the relative paths, with forward slashes, of what aepipe wrote into such a folder; it raises BadInput for a
    folder that is none. `what` is what messages call it.
    """

    path: Path
    what: str
    files_of: Callable[[Path], Iterable[str]]
    last: str = LIST  # the file that makes it what it is: it appears when all others are there

    def check(self) -> bool:
        """Whether there is an old one to be replaced; raises BadInput where something else is in the way."""
        try:
            if not self.path.exists() or (self.path.is_dir() and all(map(_is_own_mark, self.path.iterdir()))):
                return False
        except OSError as error:
            raise BadInput(f"{self.path} cannot be looked at: {error.strerror}", "check the permissions") from None
        try:
            self.files_of(self.path)
        except BadInput:
            message = f"{self.path} exists and is not a {self.what}"
            raise BadInput(message, "choose another folder with -o") from None
        return True

    @contextlib.contextmanager
    def replacing(self) -> Iterator[Path]:
        """Yield a temporary folder to fill. If the block succeeds it takes the place of the old one, and what else was there
        moves into it; if not, it is removed.

        Nobody else can write there meanwhile. Raises BadInput as `check` does, where another process writes, and where something
        has appeared at the place since; AepipeError where nothing can be written.
        """
        replaced = self.check()
        staged = Staged(self.path)
        home = staged.temporary.parent
        with locked(lock_beside(home / self.path.name), f"the {self.what} {self.path}"):
            try:
                with writing(self.path):
                    staged.temporary.mkdir()
                    yield staged.temporary
                    if self.check() and not replaced:
                        message = f"the {self.what} {self.path} was written by another process meanwhile"
                        raise BadInput(message, "it stays as it is; choose another folder with -o")
                    sync(staged.temporary)
                    self._take_over(staged)
                    sync(self.path.parent)
            finally:
                staged.discard()

    def _take_over(self, staged: Staged) -> None:
        """Put the new folder in the place of the old one, where there is one."""
        new, place = staged.temporary, staged.path  # the place itself, where self.path is a link to it
        if not place.is_dir() or all(map(_is_own_mark, place.iterdir())):
            if place.is_dir() and not staged.inside:
                remove_leftovers(place)
            staged.commit(self.last)
            return
        ours = set(self.files_of(place))
        others = [each for each in foreign_entries(place, ours) if not _is_own_mark(place / each)]
        for each in others:
            if os.path.lexists(new / each):
                message = f"{place / each} was not written by aepipe, and the new {self.what} has a file of that name"
                raise BadInput(message, "move it, or choose another folder with -o")
        if staged.inside:
            self._replace_files(new, place, ours)
            return
        note = place / MOVING
        note.write_text(json.dumps([place.name, others]), encoding="utf-8")
        try:
            old = _exchange(new, place)
        except OSError:
            note.unlink(missing_ok=True)
            raise
        remove_tree(old)

    def _replace_files(self, new: Path, place: Path, ours: set[str]) -> None:
        """The same, file by file, where the folder itself must stay. Until the last file is there, which says what belongs
        together, a reader finds that files do not fit it, and says so."""
        made = {path.relative_to(new).as_posix() for path in new.rglob("*") if not path.is_dir()}
        for each in sorted(made, key=lambda name: (name == self.last, name)):
            (place / each).parent.mkdir(parents=True, exist_ok=True)
            (new / each).replace(place / each)
        remove_files(place, ours - made)


def whole_around(path: Path) -> tuple[str, Path] | None:
    """What aepipe wrote as a whole around this path, a bundle or a run for instance, and where; None if there is nothing."""
    for folder in path.parents:
        for mark, (what, key) in MARKS.items():
            try:
                entries = read_json(folder / mark)
            except (OSError, ValueError, BadInput):
                continue
            if isinstance(entries, dict) and key in entries:
                return what, folder
    return None


def _is_own_mark(path: Path) -> bool:
    """Whether this is a temporary file, a lock or a note, which is neither the folder's content nor somebody's."""
    return is_leftover(path) or path.name == MOVING or (path.name.startswith(".aepipe-") and path.suffix == ".lock")


def _exchange(new: Path, place: Path) -> Path:
    """Put `new` where `place` is, in one step where the system can; returns where the old folder is now.

    Linux exchanges two names in one system call, so that a reader finds a whole folder at every moment. Elsewhere the old folder
    is renamed first: for an instant there is none.
    """
    if _renameat2(new, place):
        return new
    old = new.with_name(f"{new.name.removesuffix('.part')}-old.part")
    place.rename(old)
    try:
        new.rename(place)
    except OSError:
        old.rename(place)
        raise
    return old


def _renameat2(first: Path, second: Path) -> bool:
    """Exchange two names by Linux's renameat2(2); False where there is no such call, or the file system lacks it."""
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):
        return False
    return call(here, os.fsencode(first), here, os.fsencode(second), exchange) == 0


def foreign_entries(folder: Path, ours: Iterable[str]) -> Iterator[str]:
    """What in a folder is not ours: relative paths of files, and of sub-folders as a whole where nothing of ours is inside."""
    ours = set(ours)
    homes = {parent for file in ours for parent in _parents(file)}

    def walk(inside: str) -> Iterator[str]:
        for each in sorted(os.scandir(folder / inside), key=lambda entry: entry.name):
            name = f"{inside}{each.name}"
            if each.is_dir(follow_symlinks=False) and name in homes:
                yield from walk(f"{name}/")
            elif name not in ours:
                yield name

    yield from walk("")


def _parents(file: str) -> Iterator[str]:
    parts = file.split("/")[:-1]
    yield from ("/".join(parts[: k + 1]) for k in range(len(parts)))


def remove_files(folder: Path, files: Iterable[str]) -> None:
    """Remove these files of a folder, then the folders that this leaves empty, the folder itself included.

    Raises PermissionError before anything is removed where a folder of them is closed.
    """
    files = list(files)
    for home in {(folder / file).parent for file in files if os.path.lexists(folder / file)}:
        if not os.access(home, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(home))
    for file in files:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            (folder / file).unlink()
    homes = sorted({parent for file in files for parent in _parents(file)}, key=len, reverse=True)
    for home in [*(folder / each for each in homes), folder]:
        with contextlib.suppress(OSError):  # it is not empty: something else lies in it
            home.rmdir()


def write_list(folder: Path, kind: str) -> None:
    """Write down that all files that lie in `folder` now are ours, and of what kind the folder is."""
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
    (folder / LIST).write_text(json.dumps({"kind": kind, "files": [*files, LIST]}, indent=2) + "\n", encoding="utf-8")


def listed_files(folder: Path, kind: str) -> tuple[str, ...]:
    """What `write_list` wrote down; raises BadInput for a folder without such a list, or of another kind."""
    try:
        listing = as_record(_Listing, read_json(folder / LIST))
    except (OSError, ValueError):
        raise BadInput(f"{folder} has no list of what aepipe wrote") from None
    if listing.kind != kind:
        raise BadInput(f"{folder} is a {listing.kind}, not a {kind}")
    return listing.files
