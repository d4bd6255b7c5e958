"""A folder that takes long to fill: what a process that was stopped has left is found by the next one that makes the same.

Until everything is there, the files lie in a hidden folder: inside OUT where OUT exists, else in the closest folder above it.
Its name is made of OUT and of everything that the files depend on. So what was made of another input, or in another way, is
never found. A file counts as there if it is whole, which its own checksums tell: half a file is never taken for a whole one,
whether a kill or a loss of power has left it, and nothing has to wait for the disk.
"""

from __future__ import annotations

import filecmp
import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from aepipe.errors import BadInput
from aepipe.progress import say

from .locks import locked
from .staged import is_leftover, remove_leftovers, writing

PREFIX = ".aepipe-job-"
COMPLETE = "complete"  # a file that is there from the moment on at which files move to OUT
PNG, END = b"\x89PNG\r\n\x1a\n", b"IEND"


class Partial:
    """The hidden folder in which the files of OUT are collected; a context, in which nobody else works on the same.

    `made_of` says what the files depend on, by keys that a message can name. `part` tells several processes apart that share OUT.
    Raises BadInput where another process makes the same part of OUT.
    """

    def __init__(self, out: str | os.PathLike[str], made_of: Mapping[str, Any], part: str = ""):
        self.out, self.part = Path(out).expanduser().resolve(), part
        self._made_of = json.loads(json.dumps(made_of, default=str))
        name = f"{_name(self.out, part)}-{_digest(self._made_of)}"
        homes = _homes(self.out)
        self.begun = next((home / name for home in homes if (home / name).is_dir()), None)
        self.folder = self.begun or homes[0] / name
        self.temporary = self.folder / "files"  # where the files are collected
        self.complete = (self.folder / COMPLETE).exists()
        self._committed = False

    def __enter__(self) -> Partial:
        with ExitStack() as stack:
            lock = self.folder.parent / f"{_name(self.out, self.part)}.lock"
            stack.enter_context(locked(lock, f"the folder {self.out}"))
            if not (self.complete or self.part):
                check_free(self.out)
            if not self.begun:
                self._say_others()
            with writing(self.out):
                self.folder.mkdir(exist_ok=True)
                (self.folder / "made-of.json").write_text(json.dumps(self._made_of), encoding="utf-8")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def _say_others(self) -> None:
        for other in _of(self.out, self.part):
            try:
                theirs = json.loads((other / "made-of.json").read_text(encoding="utf-8"))
                differs = [key for key in self._made_of if theirs.get(key) != self._made_of[key]]
            except (OSError, ValueError, AttributeError):
                differs = []
            what = f"whose {' and '.join(differs)} differ" if differs else "which is not this one"
            say(f"note: a job for {self.out} was stopped, {what}; this one begins anew")

    def has(self, name: str) -> bool:
        """Whether this PNG file is there and whole."""
        return is_whole(self.temporary / name) or (self.complete and is_whole(self.out / name))

    def drop(self, name: str) -> None:
        """Remove what there is of this file, so that it can be written anew. What is whole in OUT stays, to be compared."""
        (self.temporary / name).unlink(missing_ok=True)
        if self.complete and not is_whole(self.out / name):
            (self.out / name).unlink(missing_ok=True)

    def commit(self) -> None:
        """Move the files to OUT; raises BadInput if it holds a file of the same name with other content."""
        files = list(_files(self.temporary))
        for file in files:
            there = self.out / file
            if there.exists() and not filecmp.cmp(there, self.temporary / file, shallow=False):
                raise BadInput(f"{there} exists and is not this job's image", "choose another folder or remove it")
        (self.folder / COMPLETE).touch()
        if not self.part and not self.out.exists():
            self.out.parent.mkdir(parents=True, exist_ok=True)
            self.temporary.rename(self.out)
        else:
            self.out.mkdir(parents=True, exist_ok=True)
            for file in files:
                (self.out / file).parent.mkdir(parents=True, exist_ok=True)
                (self.temporary / file).replace(self.out / file)
            remove_leftovers(self.out)
        self._committed = True

    def discard(self) -> None:
        """Remove what is not needed any more: all where OUT is there, else what holds no file yet. The rest is kept and named."""
        if self._committed:
            for folder in _of(self.out, self.part):
                shutil.rmtree(folder, ignore_errors=True)
        elif next(_files(self.temporary), None) is None and not self.complete:
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            say(f"note: what is done of {self.out} is kept in {self.folder}, and the same command continues")


def is_free(out: Path) -> bool:
    """Whether nothing lies in OUT but what processes that were stopped have left there, or write there."""
    return not out.is_dir() or all(each.name.startswith(PREFIX) or is_leftover(each) for each in out.iterdir())


def check_free(out: Path) -> None:
    """Raise BadInput where OUT holds files, be they only those of a job that was stopped while it moved them there."""
    if not is_free(out):
        again = "run the job again that was stopped while it moved its files there, or " if is_moving(out) else ""
        raise BadInput(f"The output folder {out} is not empty", f"{again}choose another folder or remove it")


def is_moving(out: Path) -> bool:
    """Whether a job was stopped while it moved its files to OUT: it may go on, but no other may write there."""
    return any((each / COMPLETE).exists() for each in _of(out, ""))


def is_whole(path: Path) -> bool:
    """Whether a file is a PNG from its first byte to its last, by the checksum of every chunk; one of another form, which got its
    name when it was complete, is whole if it is there."""
    if path.suffix != ".png":
        return path.is_file()
    try:
        content = path.read_bytes()
    except OSError:
        return False
    place, kind = len(PNG), b""
    while kind != END:
        end = place + 12 + int.from_bytes(content[place : place + 4])
        kind = content[place + 4 : place + 8]
        if end > len(content) or zlib.crc32(content[place + 4 : end - 4]) != int.from_bytes(content[end - 4 : end]):
            return False
        place = end
    return place == len(content) and content.startswith(PNG)


def _homes(out: Path) -> list[Path]:
    """OUT and the folders above it, as far as they exist: in one of them the hidden folder lies, whatever was made since."""
    return [place for place in (out, *out.parents) if place.is_dir()]


def _of(out: Path, part: str) -> list[Path]:
    """The hidden folders of all jobs that make this part of OUT."""
    found: list[Path] = []
    for home in _homes(out):
        with suppress(OSError):  # a folder above that nobody may list
            found += sorted(home.glob(f"{_name(out, part)}-*"))
    return found


def _name(out: Path, part: str) -> str:
    return f"{PREFIX}{_digest([str(out), part])}"


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _files(folder: Path) -> Iterator[Path]:
    return (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
