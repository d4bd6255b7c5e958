"""Files that readers of plugins know: which reader takes a file, its samples, and how results are written in the same form."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np

from aepipe import plugins
from aepipe.errors import BadInput, closest
from aepipe.files.numpy_files import reading
from aepipe.plugins.components import Choice, Component
from aepipe.plugins.specs import parse_spec

from .decoding import SKIP
from .loaded import load
from .objects import is_images

OWN = {".npy", ".npz", ".gz"}  # arrays, which stay with aepipe
PACKAGES = {
    "aepipe-science": (".tif", ".tiff", ".h5", ".hdf5", ".wav", ".nii", ".nii.gz", ".zarr"),
}  # those that are known to read what aepipe itself does not, by ending


class Kept(NamedTuple):
    """What a reader found in one file."""

    samples: Any  # an `Images` object [N, C, *sides], or an array whose axes follow the rules of arrays
    labels: np.ndarray | None
    splits: bool  # whether the file tells training from test samples

    @property
    def is_array(self) -> bool:
        return not is_images(self.samples)


class Writing(NamedTuple):
    """How results are written as files of a reader's form."""

    ending: str
    open: Callable[[Path], AbstractContextManager[Any]]  # gives what has `write(samples [n, C, *sides])`


def _readers() -> list[Component]:
    found = plugins.registry().components("reader").values()
    return [claims[0] for claims in found if len(claims) == 1]


def endings_of(component: Component) -> tuple[str, ...]:
    """The endings of the files that a reader takes, in lower case."""
    return tuple(ending for ending in getattr(component.factory, "endings", ()) if ending not in OWN)


def known_endings() -> set[str]:
    """The endings of the files that readers take."""
    return {ending for component in _readers() for ending in endings_of(component)}


def ending_among(name: str | PurePath, endings: Iterable[str]) -> str:
    """The longest of these endings that a name has, such as .nii.gz, or what `PurePath.suffix` says of it; in lower case."""
    own = PurePath(name).name.lower()
    found = [each for each in endings if own.endswith(each) and len(own) > len(each)]
    return max(found, key=len, default=PurePath(own).suffix)


def writing_of(component: Component, ending: str | None = None) -> Writing | None:
    """How a reader's plugin writes its files, by the first of its endings or by this one; None where it only reads."""
    writer = getattr(component.factory, "writer", None)
    if writer is None:
        return None
    ending = ending or endings_of(component)[0]
    told = "ending" in inspect.signature(writer).parameters
    return Writing(ending, partial(writer, ending=ending) if told else writer)


def written_endings() -> dict[str, Writing]:
    """What OUT may end in, beside aepipe's own."""
    found = {}
    for component in _readers():
        for ending in endings_of(component):
            if writing := writing_of(component, ending):
                found[ending] = writing
    return found


class Reader:
    """One reader of a plugin, with its options."""

    def __init__(self, choice: Choice):
        self.choice, self.component = choice, choice.component

    @property
    def writing(self) -> Writing | None:
        return writing_of(self.component)

    def __str__(self) -> str:
        return f"by the reader {self.component.name} of {self.component.plugin}"

    def read(self, path: str | Path, split: str) -> Kept | None:
        """What is in a file; None where it is not the reader's. Raises BadInput for what cannot be read."""
        with reading(f"{path} cannot be read", SKIP):
            dataset = self.choice.component.factory(str(path), **self.choice.options)
            if dataset is None:
                return None
            samples, labels = load(self.component, dataset, split)
            return Kept(samples, labels, bool(getattr(dataset, "splits", False)))


def reader_of(path: Path, member: str | None) -> Reader | None:
    """The reader that takes files of this ending, with the options of FILE[key=value,…] or the member of FILE[NAME]."""
    ending = ending_among(path, known_endings())
    found = [component for component in _readers() if ending in endings_of(component)]
    if not found:
        return None
    if len(found) > 1:
        names = " and ".join(f"{each.name} of {each.plugin}" for each in found)
        raise BadInput(
            f"files that end with {ending} are read by {names}", "name the plugin that is wanted in AEPIPE_LOAD_PLUGINS"
        )
    return Reader(_choice(found[0], member, path))


def _choice(component: Component, member: str | None, path: Path) -> Choice:
    given: dict[str, Any] = {}
    if member is not None and "=" in member:
        given = parse_spec(f"{component.name}:{member}").options
    elif member is not None:
        names = [option.name for option in component.options]
        part = next((each for each in ("member", "array") if each in names), None)
        if part is None:
            known = ", ".join(f"{name}=…" for name in names)
            hint = f"leave out [{member}]" + (f", or give options: [{known}]" if known else "")
            raise BadInput(f"{path} holds no parts with names", hint)
        given = {part: member}
    options = component.settle(given)
    return Choice(component, options, component.name)


def missing(path: Path) -> str:
    """What to install so that a file of this ending can be read; "" where nothing is known, or it is installed."""
    if ending_among(path, known_endings()) in known_endings():
        return ""
    for name, endings in PACKAGES.items():
        if ending_among(path, endings) in endings:
            return f"pip install {name}"
    return ""


def unknown(path: Path, hint: str) -> BadInput:
    """The error for a file that neither aepipe nor a reader takes."""
    return BadInput(
        f"{path} is nothing that is read here",
        missing(path) or f"{hint}; {closest(path.suffix, sorted(known_endings()))}",
    )
