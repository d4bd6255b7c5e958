"""Checks of layouts: other forms of a bundle."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path

from .bundles import small_bundle
from .report import Subject, require, trying


def contents(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file below a folder, by its relative path."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def fills_the_folder(subject: Subject) -> None:
    """Of a bundle's folder and an empty one it writes at least one file into that, and returns None or a text."""
    fill = subject.make()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out")
        out.mkdir()
        with trying("the layout of a small bundle", "take any bundle, or refuse it with ValueError"):
            said = fill(small_bundle(), out)
        require(
            contents(out), "it writes nothing into OUT", "write the files into the folder that is the second argument"
        )
        require(
            said is None or isinstance(said, str), f"it returns {type(said).__name__}", "return what was made, as text"
        )
        beside = sorted(path.name for path in Path(folder).iterdir())
        require(
            beside == ["out"], f"it writes {beside} beside OUT", "write into OUT alone: it is moved when all is there"
        )


def leaves_the_bundle(subject: Subject) -> None:
    """The bundle stays as it is."""
    before = contents(small_bundle())
    with tempfile.TemporaryDirectory() as folder, trying("the layout of a small bundle", "take any bundle"):
        subject.make()(small_bundle(), Path(folder))
    changed = before != contents(small_bundle())
    small_bundle.cache_clear() if changed else None  # for the checks that follow
    require(not changed, "it changes the bundle", "copy what is to be changed into OUT first")


CHECKS: list[Callable[[Subject], None]] = [fills_the_folder, leaves_the_bundle]
