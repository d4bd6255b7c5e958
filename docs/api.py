"""Writes docs/api: every public name of aepipe with its signature and its docstring, one page a module.

python docs/api.py
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent / "api"
MODULES = ("aepipe", "aepipe.sklearn", "aepipe.plugins", "aepipe.runtime", "aepipe.progress", "aepipe.testing")
# Bases whose members are documented elsewhere: by scikit-learn and by Python.
FOREIGN = ("sklearn.", "builtins", "typing")


def pages() -> dict[str, str]:
    """File name to text of every page."""
    return {"README.md": index(), **{f"{name}.md": page(name) for name in MODULES}}


def index() -> str:
    lines = ["# Python API", "", "Written by `python docs/api.py` from the docstrings.", ""]
    for name in MODULES:
        module = import_module(name)
        lines.append(f"- [{name}]({name}.md): {first_line(module)} {', '.join(f'`{each}`' for each in public(module))}")
    return "\n".join(lines) + "\n"


def page(name: str) -> str:
    module = import_module(name)
    parts = [f"# {name}", described(module)]
    for each in public(module):
        parts += entry(each, getattr(module, each))
    return "\n\n".join(part for part in parts if part) + "\n"


def public(module: Any) -> list[str]:
    return [each for each in module.__all__ if not each.startswith("__")]


def entry(name: str, what: Any) -> Iterator[str]:
    """A name of a module: its heading, its signature, its docstring; of a class also properties and methods."""
    yield f"## {name}"
    if isinstance(what, list | dict):
        yield f"A {type(what).__name__} of {', '.join(f'`{each}`' for each in what)}."
        return
    if not inspect.getdoc(what):  # another name of a type
        yield f"The type `{what}`."
        return
    yield signature(name, what)
    yield described(what)
    for member, value in members(what) if inspect.isclass(what) else ():
        yield f"### {name}.{member}"
        yield signature(member, value) if callable(value) else ""
        yield described(value)


def members(kind: type) -> Iterator[tuple[str, Any]]:
    """Public methods and properties with a docstring, of the class and of ours that it is made of, in the order of the source."""
    seen = set()
    for owner in kind.__mro__:
        if owner.__module__.startswith(FOREIGN):
            continue
        for name, value in vars(owner).items():
            plain = getattr(value, "__func__", value)
            if not name.startswith("_") and name not in seen and inspect.getdoc(plain) and is_member(plain):
                seen.add(name)
                yield name, plain


def is_member(value: Any) -> bool:
    return inspect.isfunction(value) or isinstance(value, property) or type(value).__name__ == "cached_property"


def signature(name: str, what: Any) -> str:
    """How it is called, one argument a line where one line is too long; "" for errors and protocols, which nobody makes."""
    if inspect.isclass(what) and (issubclass(what, BaseException) or getattr(what, "_is_protocol", False)):
        return ""
    try:
        found = inspect.signature(what)
    except (TypeError, ValueError):
        return ""
    found = found.replace(parameters=[each for each in found.parameters.values() if each.name != "self"])
    if inspect.isclass(what):
        found = found.replace(return_annotation=inspect.Signature.empty)
    return f"```python\n{name}{as_text(found)}\n```"


def as_text(found: inspect.Signature) -> str:
    """A signature whose annotations, which are texts, stand as they do in the source."""
    lines: list[str] = []
    last = None
    for each in found.parameters.values():
        if each.kind is each.KEYWORD_ONLY and last not in (each.KEYWORD_ONLY, each.VAR_POSITIONAL):
            lines.append("*")
        star = {each.VAR_POSITIONAL: "*", each.VAR_KEYWORD: "**"}.get(each.kind, "")
        kind = "" if each.annotation is each.empty else f": {annotation(each.annotation)}"
        equals = " = " if kind else "="
        default = "" if each.default is each.empty else f"{equals}{each.default!r}"
        lines.append(f"{star}{each.name}{kind}{default}")
        last = each.kind
    back = "" if found.return_annotation is found.empty else f" -> {annotation(found.return_annotation)}"
    line = f"({', '.join(lines)}){back}"
    return line if len(line) < 90 else "(\n" + "".join(f"    {each},\n" for each in lines) + f"){back}"


def annotation(what: Any) -> str:
    return what if isinstance(what, str) else getattr(what, "__name__", str(what))


def described(what: Any) -> str:
    """A docstring as Markdown, with the headings and lists of numpydoc, and with stars as they stand in shapes."""
    text = re.sub(r"(`[^`]*`)|\*", lambda found: found[1] or r"\*", inspect.getdoc(what) or "")
    text = re.sub(r"^(\w[\w ]*)\n-{3,}\n", r"**\1**\n\n", text, flags=re.MULTILINE)
    return re.sub(r"^(\w[\w, ]*) : ", r"- `\1`: ", text, flags=re.MULTILINE)


def first_line(what: Any) -> str:
    return (inspect.getdoc(what) or "").partition("\n")[0]


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    for old in HERE.glob("*.md"):
        old.unlink()
    for name, text in pages().items():
        (HERE / name).write_text(text, encoding="utf-8")
