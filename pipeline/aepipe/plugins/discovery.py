"""Finds the distributions that register with aepipe: their entry points stand in folders beside the installed packages.

importlib.metadata would find the same, but importing it and parsing every METADATA file would take longer than everything
else that `aepipe --help` does. It is used only for a place on sys.path that is not a folder, such as a zip file.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from functools import reduce
from typing import Any, NamedTuple

GROUP = "aepipe"


class Entry(NamedTuple):
    """One line `name = module:attribute` of a distribution's entry points."""

    name: str
    value: str
    distribution: str  # normalised: lower case, hyphens
    version: str
    place: str  # the folder on sys.path that holds it

    def load(self) -> Any:
        """Import what the entry point names; raises whatever the import raises."""
        from importlib import import_module

        module, _, attribute = self.value.partition(":")
        return reduce(getattr, filter(None, attribute.strip().split(".")), import_module(module.strip()))


def normal_name(distribution: str) -> str:
    """The one spelling of a distribution's name: `Aepipe_Flow` is aepipe-flow."""
    return re.sub(r"[-_.]+", "-", distribution.strip()).lower()


def entries() -> list[Entry]:
    """All entry points, aepipe's own first, in a fixed order; AEPIPE_LOAD_PLUGINS restricts the others.

    If a distribution is on sys.path more than once, Python imports the first one, so its entries come first here too.
    """
    allowed = os.environ.get("AEPIPE_LOAD_PLUGINS")
    wanted = None if allowed is None else {normal_name(name) for name in allowed.split(",")}
    found = [entry for place in dict.fromkeys(sys.path) for entry in _entries_in(place or ".")]
    kept = [each for each in found if each.distribution == GROUP or wanted is None or each.distribution in wanted]
    return sorted(kept, key=lambda each: (each.distribution != GROUP, each.distribution, each.name))


def _entries_in(place: str) -> Iterator[Entry]:
    try:
        names = sorted(os.listdir(place))  # noqa: PTH208  pathlib is slow to import and to use, and this is start-up
    except NotADirectoryError:
        yield from _entries_in_archive(place)
        return
    except OSError:
        return
    for name in names:
        if not name.endswith((".dist-info", ".egg-info")):
            continue
        try:
            with open(f"{place}/{name}/entry_points.txt", encoding="utf-8") as file:  # noqa: PTH123
                text = file.read()
        except (OSError, UnicodeDecodeError):  # most distributions have none
            continue
        pairs = list(_group(text))
        if pairs:
            stem = name.rpartition(".")[0]
            distribution, _, version = stem.partition("-")
            version = version or _version_of(f"{place}/{name}/PKG-INFO")
            yield from (Entry(*pair, normal_name(distribution), version, place) for pair in pairs)


def _group(text: str) -> Iterator[tuple[str, str]]:
    """Yield name and value of each line in aepipe's group of an entry_points.txt."""
    inside = False
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            inside = line == f"[{GROUP}]"
        elif inside and "=" in line and not line.startswith(("#", ";")):
            name, _, value = line.partition("=")
            yield name.strip(), value.partition("[")[0].strip()  # extras in brackets are for installers


def _version_of(path: str) -> str:
    """The version in a PKG-INFO: the folder that `setup.py develop` leaves beside the sources has none in its name."""
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123
            return next((line[9:].strip() for line in file if line.startswith("Version: ")), "0")
    except (OSError, UnicodeDecodeError):
        return "0"


def _entries_in_archive(place: str) -> Iterator[Entry]:
    from importlib.metadata import distributions

    for each in distributions(path=[place]):
        for entry in each.entry_points.select(group=GROUP):
            yield Entry(entry.name, entry.value, normal_name(each.name), each.version, place)
