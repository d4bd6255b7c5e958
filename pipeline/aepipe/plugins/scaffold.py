"""`aepipe plugins new NAME`: a complete distribution to start from, rendered from the folder template/."""

from __future__ import annotations

import keyword
import re
import textwrap
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template
from typing import Any

from aepipe import plugins
from aepipe._version import __version__
from aepipe.errors import BadInput, closest
from aepipe.files.staged import replacing

from .kinds import KINDS

RULE = "a name is lower-case letters, digits and single hyphens, and begins with a letter: wavelet, two-photon"
OFFERED = (*KINDS, "command", "callback")  # what a plugin can be written with
USUAL = ("encoder", "decoder", "density")


def new_plugin(name: str, parent: str | Path = ".", kinds: Sequence[str] = USUAL) -> tuple[Path, list[str]]:
    """Write the distribution aepipe-NAME, with one component of each of the kinds, into `parent`.

    `name` may begin with `aepipe-` or not. Returns its folder, and the commands that use what is in it. Raises BadInput if
    the name cannot name a distribution, a module and a component at once, if it is taken, if the folder exists, or for a
    kind that does not exist.
    """
    name = name.removeprefix("aepipe-")
    for kind in kinds:
        if kind not in OFFERED:
            raise BadInput(f"there is no kind {kind!r} of component", closest(kind, list(OFFERED)))
    kinds = [kind for kind in OFFERED if kind in kinds]
    _check(name, kinds)
    folder = Path(parent) / f"aepipe-{name}"
    if folder.exists():
        raise BadInput(f"{folder} exists", "choose another name, or remove it")
    template = resources.files("aepipe.plugins") / "template"
    parts = {kind: tomllib.loads((template / "kinds" / f"{kind}.toml").read_text(encoding="utf-8")) for kind in kinds}
    words = {
        "name": name,
        "module": f"aepipe_{name.replace('-', '_')}",
        "title": name.replace("-", " ").capitalize(),
        "aepipe": ".".join(__version__.split(".")[:2]),
    }
    words |= {part: Template(text).substitute(words) for part, text in _composed(parts)}
    with replacing(folder) as temporary:
        for source, path in _files(template):
            target = temporary / path.format(**words)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(Template(source.read_text(encoding="utf-8")).substitute(words), encoding="utf-8")
    return folder, [line.strip() for line in words["commands"].splitlines()]


def _composed(parts: dict[str, dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """What the kinds have together, under the names that the templates of the files have for it."""
    kinds = [part["what"] for part in parts.values()]
    what = ", ".join(kinds[:-1]) + " and " * (len(kinds) > 1) + kinds[-1]
    yield "what", what
    yield "What", what[0].upper() + what[1:]
    yield "It_has", textwrap.fill(f"It has {what}.", 116)
    modules = [f"import {each}" for part in parts.values() for each in part.get("modules", ())]
    names = sorted({"hookimpl", *(name for part in parts.values() for name in part.get("names", ()))})
    yield "imports", "\n".join([*modules, f"from aepipe import {', '.join(names)}"])
    yield "code", "\n\n\n".join(part["module"].strip() for part in parts.values())
    train = " ".join(part["train"] for part in parts.values() if "train" in part)
    data = "" if "dataset" in parts else "--data digits "
    commands = [f"aepipe train {data}{train}".strip() + " --epochs 2 -o runs/$name", "aepipe export runs/$name"]
    commands += [part["commands"] for part in parts.values() if "commands" in part]
    yield "commands", "\n".join(f"    {line}" for line in commands)
    yield from _tests(parts)


def _tests(parts: dict[str, dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """The tests: the checks of each kind, what it has itself, and a training where one uses it."""
    checked = [kind for kind in parts if kind in KINDS]
    tests = [f"def test_{kind}():\n    testing.check_{kind}($module.{kind})" for kind in checked]
    tests += [part["tests"].strip() for part in parts.values() if "tests" in part]
    options = [part["fit"] for kind, part in parts.items() if "fit" in part and kind != "dataset"]
    data = parts["dataset"]["fit"] if "dataset" in parts else '"digits:size=16"'
    if options or "dataset" in parts:
        tests.append(TRAINING.replace("OPTIONS", ",\n        ".join([data, *options])))
    imports = ["import aepipe"] * any("aepipe.fit" in test for test in tests)
    imports += ["import numpy as np"] * any("np." in test for test in tests)
    imports += ["from aepipe import testing"] * bool(checked)
    yield "test_imports", "\n".join([*imports, "", "import $module"])
    yield "tests", "\n\n\n".join(tests)


TRAINING = """
def test_trains_exports_and_runs(tmp_path):
    run = aepipe.fit(
        OPTIONS,
        latent_dim=4,
        epochs=1,
        limit=200,
        out=tmp_path / "run",
        show=False,
    )
    model = aepipe.load(run.export(tmp_path / "bundle", show=False), provider="cpu")
    images = model.sample(3, seed=0)
    assert images.shape == (3, 1, 16, 16)
    assert np.isfinite(images).all()
""".strip()


def _check(name: str, kinds: Iterable[str]) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise BadInput(f"{name!r} is not a name for a plugin", RULE)
    if keyword.iskeyword(name) or name in ("builtins", "aepipe"):
        raise BadInput(f"{name!r} has a meaning already", "choose another name")
    for kind in KINDS.keys() & kinds:
        for claim in plugins.registry().components(kind).get(name, []):
            raise BadInput(f"there is {kind} {name!r} of {claim.plugin} already", "choose another name")


def _files(folder: Traversable, path: str = "") -> Iterator[tuple[Traversable, str]]:
    """Yield each template below a folder and the path to write it to; they end in `.txt`, so that no tool reads them as code."""
    for each in folder.iterdir():
        if each.is_dir():
            yield from _files(each, f"{path}{each.name}/")
        elif each.name.endswith(".txt"):
            yield each, path + each.name.removesuffix(".txt")
