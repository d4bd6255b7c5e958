"""`aepipe plugins new NAME`: a complete distribution to start from, rendered from the folder template/."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

from aepipe import plugins
from aepipe._version import __version__
from aepipe.errors import BadInput
from aepipe.files.staged import replacing

RULE = "a name is lower-case letters, digits and single hyphens, and begins with a letter: wavelet, two-photon"


def new_plugin(name: str, parent: str | Path = ".") -> Path:
    """Write the distribution aepipe-NAME into `parent`; returns its folder.

    `name` may begin with `aepipe-` or not. Raises BadInput if it cannot name a distribution, a module and a component at
    once, if it is taken, or if the folder exists.
    """
    name = name.removeprefix("aepipe-")
    _check(name)
    folder = Path(parent) / f"aepipe-{name}"
    if folder.exists():
        raise BadInput(f"{folder} exists", "choose another name, or remove it")
    words = {
        "name": name,
        "module": f"aepipe_{name.replace('-', '_')}",
        "title": name.replace("-", " ").capitalize(),
        "aepipe": ".".join(__version__.split(".")[:2]),
    }
    with replacing(folder) as temporary:
        for source, path in _files(resources.files("aepipe.plugins") / "template"):
            target = temporary / path.format(**words)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(Template(source.read_text(encoding="utf-8")).substitute(words), encoding="utf-8")
    return folder


def _check(name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise BadInput(f"{name!r} is not a name for a plugin", RULE)
    if keyword.iskeyword(name) or name in ("builtins", "aepipe"):
        raise BadInput(f"{name!r} has a meaning already", "choose another name")
    for kind in ("encoder", "decoder", "density"):
        for claim in plugins.registry().components(kind).get(name, []):
            raise BadInput(f"there is {kind} {name!r} of {claim.plugin} already", "choose another name")


def _files(folder: Traversable, path: str = "") -> Iterator[tuple[Traversable, str]]:
    """Yield each template below a folder and the path to write it to; they end in `.txt`, so that no tool reads them as code."""
    for each in folder.iterdir():
        if each.is_dir():
            yield from _files(each, f"{path}{each.name}/")
        elif each.name.endswith(".txt"):
            yield each, path + each.name.removesuffix(".txt")
