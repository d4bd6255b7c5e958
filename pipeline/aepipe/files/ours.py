"""Folders that aepipe writes as a whole: what in them is ours, and how a new one takes the place of an old one.

Only files that aepipe wrote are ever replaced or removed. A bundle's manifest and a run's run.json say which those are; a
folder of another kind carries a list of its own. Whatever else lies in the folder stays.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from aepipe.errors import BadInput

from .records import as_record, read_json
from .staged import Staged, is_leftover, writing

LIST = ".aepipe.json"  # names what aepipe wrote into a folder that has no manifest


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

    def check(self) -> bool:
        """Whether there is an old one to be replaced; raises BadInput where something else is in the way."""
        if not self.path.exists():
            return False
        if self.path.is_dir() and all(map(is_leftover, self.path.iterdir())):
            return False
        try:
            self.files_of(self.path)
        except BadInput:
            message = f"{self.path} exists and is not a {self.what}"
            raise BadInput(message, "choose another folder with -o") from None
        return True

    @contextlib.contextmanager
    def replacing(self) -> Iterator[Path]:
        """Yield a temporary folder to fill. If the block succeeds it takes the place of the old one, and what else was there
        moves into it; if not, it is removed. Raises BadInput as `check` does, and AepipeError where nothing can be written."""
        self.check()
        staged = Staged(self.path)
        try:
            with writing(self.path):
                staged.temporary.mkdir()
                yield staged.temporary
                if self.check():
                    self._exchange(staged.temporary)
                else:
                    staged.commit()
        finally:
            staged.discard()

    def _exchange(self, new: Path) -> None:
        ours = set(self.files_of(self.path))
        others = list(foreign_entries(self.path, ours))
        for each in others:
            if os.path.lexists(new / each):
                message = (
                    f"{self.path / each} was not written by aepipe, and the new {self.what} has a file of that name"
                )
                raise BadInput(message, "move it, or choose another folder with -o")
        old = new.with_suffix(".old")
        self.path.rename(old)
        try:
            new.rename(self.path)
        except OSError:
            old.rename(self.path)
            raise
        for each in others:
            (self.path / each).parent.mkdir(parents=True, exist_ok=True)
            (old / each).rename(self.path / each)
        remove_files(old, ours)


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
    """Remove these files of a folder, then the folders that this leaves empty, the folder itself included."""
    files = list(files)
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
