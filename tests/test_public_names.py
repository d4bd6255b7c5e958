"""Public names: those that docs/architecture.md promises, no more and no fewer, and what plugins of strangers may import."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
KINDS = (
    "augmentation",
    "corruption",
    "dataset",
    "decoder",
    "density",
    "encoder",
    "layout",
    "objective",
    "optimiser",
    "provider",
    "reader",
    "task",
)
PUBLIC = {
    "aepipe": {
        "AepipeError", "BadInput", "DensityRefused", "Model", "ParityError", "PrecisionRefused", "ProviderUnavailable", "Run",
        "__version__", "export_modules", "fit", "hookimpl", "load", "pack_codes", "resume", "unpack_codes",
    },
    "aepipe.plugins": {
        "Choice", "Component", "HOOKS", "KINDS", "Plugin", "Range", "Registry", "choose", "create", "drawn", "names",
        "registry",
    },
    "aepipe.runtime": {"FirstAvailable", "OnnxRuntime", "Provider", "Session", "provider"},
    "aepipe.progress": {"Advance", "progress", "say"},
    "aepipe.sklearn": {"Autoencoder"},
    "aepipe.testing": {
        "ConformanceError", "Finding", "NotApplicable", "Subject", "checks_of", "run_check",
        *(f"check_{kind}" for kind in KINDS),
    },
}  # fmt: skip


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names_are_those_that_are_promised(module: str) -> None:
    loaded = importlib.import_module(module)
    assert set(loaded.__all__) == PUBLIC[module]
    for name in PUBLIC[module]:
        assert getattr(loaded, name) is not None


def test_a_look_around_shows_what_is_public_and_nothing_else() -> None:
    assert set(dir(importlib.import_module("aepipe"))) == PUBLIC["aepipe"]


def test_what_is_not_there_is_an_attribute_error() -> None:
    for module in PUBLIC:
        with pytest.raises(AttributeError, match="no_such_name"):
            importlib.import_module(module).no_such_name  # noqa: B018


def imported(path: Path) -> Iterator[tuple[str, str]]:
    """Module and name of everything that a file, or a template of one, imports from aepipe."""
    for node in ast.walk(ast.parse(re.sub(r"\$\{?(\w+)\}?", r"\1", path.read_text(encoding="utf-8")))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "aepipe":
            yield from ((node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name.partition(".")[0] == "aepipe")


def test_distributions_of_their_own_import_public_names_alone() -> None:
    files = [*ROOT.glob("plugins/aepipe-*/**/*.py"), *(ROOT / "pipeline/aepipe/plugins/template").rglob("*.py.txt")]
    assert len(files) > 8
    for path in files:
        if "tests" in path.parts[len(ROOT.parts) + 2 :] and ROOT / "plugins" in path.parents:
            continue  # their tests may look at what aepipe makes of them
        for module, name in imported(path):
            known = name in PUBLIC.get(module, ()) or f"{module}.{name}".rstrip(".") in PUBLIC
            assert known, f"{path.relative_to(ROOT)} imports {name or module} of {module}, which is private"
