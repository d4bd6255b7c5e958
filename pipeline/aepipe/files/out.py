"""What OUT asks for by its ending, and whether a result may lie there."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath

from aepipe.errors import BadInput, closest

from .partial import is_free, is_mark
from .staged import _nearest, _temporary, is_dead, is_leftover

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
            closest(ending, [_KINDS.get(name, f".{name}") for name in allowed]),
        )
    if text != "-":
        _check_place(text, folder=kind == "folder")
    return kind


def as_path(text: str | os.PathLike[str]) -> Path:
    """A path as the user wrote it, with `~` as the home folder. Raises BadInput where nobody knows that home."""
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise BadInput(f"{os.fspath(text)!r} cannot be found: {error}", "write the whole path") from None


def _check_place(text: str, folder: bool) -> None:
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
    if not all(is_leftover(path) or is_mark(path) for path in found) and not is_free(folder):
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
            if path == place:
                raise BadInput(f"The output {out} is the input itself", "choose another name")
            if path.is_dir() and path in place.parents:
                raise BadInput(
                    f"The output {out} lies in the input {given}, and would be read as a part of it",
                    "choose another place",
                )
            if place in path.parents and place.is_dir():
                raise BadInput(f"The output {out} holds the input {given}", "choose another place")


def _paths_of(given: str | os.PathLike[str] | None) -> list[Path]:
    """What exists under that name, with or without a slice behind it."""
    if not given:
        return []
    text = os.fspath(given)
    found = []
    for each in dict.fromkeys((text, text.rpartition("[")[0])):
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
    return str(path.with_name((path.name if keep else path.stem) + ending))


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
