"""Finding the images of a folder, and counting what is left out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Set
from dataclasses import dataclass, field
from pathlib import Path

from aepipe.errors import BadInput

from .decoding import ENDINGS
from .splits import choose_split, split_of
from .taken import plural

DEEPEST = 64  # folders in folders
NAMED = 5  # so many endings are named


@dataclass
class Listing:
    """The image files below a folder, and what else lies there."""

    root: Path  # the folder, or that of its split
    paths: list[str] = field(default_factory=list)  # relative to root, '/'-separated, sorted
    split: str | None = None  # the folder that holds the split, where there are splits
    others: list[str] = field(default_factory=list)  # the folders of other splits
    endings: Counter[str] = field(default_factory=Counter)
    strangers: list[str] = field(default_factory=list)  # the files with other endings
    hidden_files: int = 0
    hidden_folders: int = 0
    links: int = 0  # to folders

    def left_out(self) -> Counter[str]:
        """Why → how many."""
        found: Counter[str] = Counter()
        if self.others:
            folders = plural(len(self.others), "folder")
            found[f"{folders} of other splits ({', '.join(sorted(self.others)[:NAMED])})"] = len(self.others)
        for count, what in ((self.hidden_files, "hidden file"), (self.hidden_folders, "hidden folder")):
            if count:
                found[plural(count, what)] = count
        if self.links:
            found[f"{plural(self.links, 'link')} to {plural(self.links, 'folder')}"] = self.links
        if total := self.endings.total():
            named = [ending or "none" for ending, _ in self.endings.most_common(NAMED)]
            more = ["…"] if len(self.endings) > NAMED else []
            found[f"{plural(total, 'file')} with other endings ({', '.join(named + more)})"] = total
        return found


def find_images(folder: Path, split: str, more: Set[str] = frozenset()) -> Listing:
    """The image files below a folder; of `split`, wherever a folder has splits. Files with one of the endings `more` count where
    there are no others.

    Hidden files and folders are left out. Links to files are followed, links to folders are not: what lies in the folder
    is found without them, and what lies elsewhere was not given. Raises BadInput where there are no images.
    """
    chosen, others = choose_split(_folders(folder), split, f"the folder {folder}")
    listing = Listing(folder if chosen is None else folder / chosen, split=chosen)
    listing.others = [f"{each}/" for each in others]
    _walk(str(listing.root), "", split, listing, 0)
    if not listing.paths:
        several = tuple(more)
        listing.paths = [path for path in listing.strangers if path.lower().endswith(several)]
        listing.endings.subtract(ending_of(path) for path in listing.paths)
        listing.endings += Counter()  # without those that are none
    listing.paths.sort()
    if not listing.paths:
        endings = ", ".join(sorted(ending[1:] for ending in ENDINGS))
        left = ", ".join(f"{count} {why}" for why, count in listing.left_out().items())
        message = f"there are no images in the folder {listing.root}" + (f", but {left}" if left else "")
        raise BadInput(message, f"image files end in {endings}")
    return listing


def ending_of(path: str) -> str:
    """What `PurePath(path).suffix.lower()` gives; for a million files that would take seconds."""
    name = path.rpartition("/")[2]
    at = name.rfind(".")
    return name[at:].lower() if 0 < at < len(name) - 1 else ""


def has_splits(folder: Path) -> bool:
    """Whether a folder has images to train on and others to test with."""
    return {"train", "test"} <= {split_of(name) for name in _folders(folder)}


def _folders(folder: Path) -> list[str]:
    """The sub-folders that are not hidden; links to folders count, because a split may be one."""
    return [entry.name for entry in _entries(str(folder)) if not entry.name.startswith(".") and _is_folder(entry)]


def _walk(folder: str, prefix: str, split: str, listing: Listing, depth: int) -> None:
    if depth > DEEPEST:
        raise BadInput(f"{folder} lies deeper than {DEEPEST} folders", "give a folder that is nearer to the images")
    entries = _entries(folder)
    others: list[str] = []
    if depth:
        names = [entry.name for entry in entries if _is_own_folder(entry) and not entry.name.startswith(".")]
        _, others = choose_split(names, split, f"the folder {folder}")
        listing.others += [f"{prefix}{each}/" for each in others]
    for entry in entries:
        if entry.name.startswith("."):
            listing.hidden_folders += _is_folder(entry)
            listing.hidden_files += not _is_folder(entry)
        elif _is_own_folder(entry):
            if entry.name not in others:
                _walk(entry.path, f"{prefix}{entry.name}/", split, listing, depth + 1)
        elif entry.is_symlink() and _is_folder(entry):
            listing.links += 1
        else:
            ending = ending_of(entry.name)
            if ending in ENDINGS:  # also a pipe, or a link to nothing: reading it reports the error
                listing.paths.append(prefix + entry.name)
            else:
                listing.endings[ending] += 1
                listing.strangers.append(prefix + entry.name)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as scan:
            return sorted(scan, key=lambda entry: entry.name)
    except OSError as error:
        raise BadInput(f"the folder {folder} cannot be read: {error.strerror}", "check its permissions") from None


def _is_own_folder(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # the entry is a link to itself
        return False
