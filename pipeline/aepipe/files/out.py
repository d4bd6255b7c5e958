"""What OUT asks for by its ending, and whether a result may lie there."""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

from aepipe.errors import BadInput, closest

from .ours import whole_around
from .partial import is_free, is_moving
from .staged import _nearest, _temporary, is_dead, is_leftover

LOOK = "check the path and its permissions"
JPEG = (".jpg", ".jpeg")
PICTURES = (".png", *JPEG)  # as what a picture is written
_KINDS = {
    "png": ".png",
    "npy": ".npy",
    "npz": ".npz",
    "csv": ".csv",
    "html": ".html",
    "folder": "a folder ending with /",
}


def output_kind(path: str | os.PathLike[str], allowed: tuple[str, ...]) -> str:
    """What OUT asks for by its ending: "png", "npy", "npz", "csv", another one, or "folder" (no ending, or a trailing slash).

    "png" is a picture, which may be a .jpg as well. "-" is "csv" on stdout. Raises BadInput for a kind that is not in `allowed`
    and for a place that cannot take it; leaves nothing behind, so that it can be called before any computing.
    """
    text = os.fspath(path)
    ending = PurePath(text).suffix.lower()
    if text == "-":
        kind = "csv"
    elif text.endswith(("/", os.sep)) or not ending:
        kind = "folder"
    else:
        fitting = [each for each in allowed if text.lower().endswith(f".{each}")]  # perhaps of two parts, as nii.gz
        kind = "png" if ending in PICTURES else max(fitting, key=len, default=ending.removeprefix("."))
    if not text or kind not in allowed:
        what = {"-": "stdout"}.get(text, "a folder" if kind == "folder" else ending)
        raise BadInput(
            f"The output {text!r} cannot be used: this command does not write {what}",
            closest(ending, [*(_KINDS.get(name, f".{name}") for name in allowed), *[".jpg"] * ("png" in allowed)]),
        )
    if text != "-":
        check_writable(text, folder=kind == "folder")
    return kind


def as_path(text: Any) -> Path:
    """A path as the user wrote it: text, bytes or an os.PathLike, with `~` as the home folder.

    Raises BadInput for anything else, for a home that nobody knows, and for a path at which the system cannot even look:
    one that is too long, or below a folder that is closed.
    """
    try:
        path = Path(os.fsdecode(text)).expanduser()
    except TypeError:
        raise BadInput(f"{text!r} is no path", "give a text, or a pathlib.Path") from None
    except RuntimeError as error:
        raise BadInput(f"{os.fspath(text)!r} cannot be found: {error}", "write the whole path") from None
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode) and not os.access(path, os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise BadInput(f"{_short(path)} cannot be looked at: {error.strerror}", LOOK) from None
    except ValueError as error:  # a zero byte, or half of a surrogate pair
        raise BadInput(f"{str(path)!r} cannot be the name of a file: {error}", "choose another name") from None
    return path


def _short(path: Path) -> str:
    text = str(path)
    return text if len(text) <= 300 else f"{text[:300]}…"


def check_writable(text: str, folder: bool) -> None:
    """Raise BadInput for a place that cannot take a file, or a folder, and for a file of what aepipe wrote as a whole."""
    try:
        target = as_path(text).resolve()
        if folder and target.exists() and not target.is_dir():
            raise BadInput(f"The output {text} is a file that exists, but a folder is needed", "choose another name")
        if folder and target.is_dir():
            _check_empty(target, text)
        if not folder and target.is_dir():
            raise BadInput(f"The output {text} is a folder that exists, but a file is needed", "choose another name")
        if not folder and target.exists() and not target.is_file():
            raise BadInput(
                f"The output {text} is no file but a device or a pipe", "choose another name, or - for stdout"
            )
        if not folder and target.exists() and (around := whole_around(target)):
            message = f"The output {text} is a file that exists in the {around[0]} {around[1]}, where none is replaced"
            raise BadInput(message, "choose another place")
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


def _check_empty(folder: Path, text: str) -> None:
    """Raise BadInput unless a folder is empty, but for what processes that were stopped have left."""
    found = list(folder.iterdir())
    if any(is_leftover(path) and not is_dead(path) for path in found):
        raise BadInput(f"Another run writes to the folder {text}", "wait for it, or choose another folder")
    if not (is_free(folder) or is_moving(folder)):
        raise BadInput(f"The output folder {text} is not empty", "choose another folder or remove it")


def check_apart(out: str | os.PathLike[str], *inputs: str | os.PathLike[str] | None) -> None:
    """Raise BadInput where OUT is an input, holds one, or lies in one: it would be read again, or lost.

    Inputs are data strings or paths; a data string that is no path is nothing to keep apart from.
    """
    if os.fspath(out) == "-":
        return
    place = as_path(out).resolve()
    for given in inputs:
        for path in _paths_of(given):
            if _is_same(path, place):
                raise BadInput(f"The output {out} is the input itself", "choose another name")
            if path.is_dir() and any(_is_same(path, each) for each in place.parents):
                raise BadInput(
                    f"The output {out} lies in the input {given}, and would be read as a part of it",
                    "choose another place",
                )
            if place.is_dir() and any(_is_same(place, each) for each in path.parents):
                raise BadInput(f"The output {out} holds the input {given}", "choose another place")


def _is_same(path: Path, other: Path) -> bool:
    """Whether two paths are one file or folder, which may have two names: of another case, or by a mount."""
    try:
        return path == other or path.samefile(other)
    except OSError:  # one of them is not there
        return False


def _paths_of(given: str | os.PathLike[str] | None) -> list[Path]:
    """What exists under that name, with or without the array of an archive and a slice behind it."""
    if not given:
        return []
    text = os.fspath(given)
    names = [text]
    while "[" in names[-1]:
        names.append(names[-1].rpartition("[")[0])
    found = []
    for each in names:
        try:
            if each and Path(each).expanduser().exists():
                found.append(Path(each).expanduser().resolve())
        except (OSError, ValueError, RuntimeError):  # too long, a zero byte, no home
            continue
    return found


def result_name(name: str, ending: str = ".png", keep: bool = False) -> str:
    """The relative path of the result for an input: "a/b.jpg" gives a/b.png, with `keep` a/b.jpg.png."""
    path = PurePath(name)
    if path.is_absolute() or path.drive or ".." in path.parts or not path.name or "\0" in name:
        raise BadInput(f"The name {name!r} leads out of the output folder", "give a relative path without '..'")
    stem = PurePath(path.stem).stem if path.suffix.lower() == ".gz" else path.stem  # x.nii.gz gives x.nii
    return str(path.with_name((path.name if keep else stem) + ending))


def result_names(names: Sequence[str], ending: str = ".png") -> list[str]:
    """result_name of each, all different: names that would collide keep their ending. Raises BadInput."""
    chosen = [result_name(name, ending) for name in names]
    full = [result_name(name, ending, keep=True) for name in names]
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
