"""Bundles in another form: `aepipe export --layout NAME`. Layouts are plugins; what all of them share is here."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from aepipe import plugins
from aepipe.bundle.reader import Bundle, is_bundle
from aepipe.errors import AepipeError, BadInput, DensityRefused, PrecisionRefused
from aepipe.files.ours import OwnFolder, listed_files, write_list
from aepipe.files.out import as_path, check_apart
from aepipe.workshop.export.formats import Formats

FOR_RUNS = ("densities", "without")  # options that choose among what a run has


def export_layout(
    layout: str, source: str | Path, out: str | Path | None = None, *, show: bool = True, **formats: Any
) -> tuple[Path, str, str]:
    """Write a run, which is exported and checked first, or a bundle in the form of a layout, given by its spec.

    Returns the folder, by default exported/NAME-LAYOUT, what the layout says of it, and the command that uses it. `formats` are
    options of `export_run`; options other than the defaults need a run. An existing folder is replaced only if this function
    has written all of it. Raises BadInput, and ParityError, DensityRefused and PrecisionRefused as `export_run` does.
    """
    choice = plugins.choose("layout", layout)
    fill = choice.make()
    following = str(getattr(fill, "next", ""))
    source = as_path(source)
    name, what = source.resolve().name, getattr(fill, "what", f"{choice.component.name} layout")
    out = as_path(out) if out else Path("exported") / f"{name}-{choice.component.name}"
    check_apart(out, source)
    wanted = Formats.of({key: value for key, value in formats.items() if key not in FOR_RUNS})
    _check(wanted, what, plain=getattr(fill, "plain", False))
    kind = f"{what} by aepipe"
    home = OwnFolder(out, kind, lambda folder: listed_files(folder, kind))
    home.check()

    def write(bundle: Path) -> str:
        Bundle(bundle)  # raises BadInput for one that cannot be read
        with home.replacing() as folder:
            said = _filled(choice, fill, bundle, folder)
            write_list(folder, kind)
        return said

    if not is_bundle(source):
        return out, _write_run(source, name, out, write, show, formats), following
    if wanted != Formats() or any(formats.get(key) for key in FOR_RUNS):
        message = f"{source} is a bundle, and its graphs stay as they are"
        raise BadInput(
            message, "leave out whatever chooses among graphs, such as --lower and --density, or give the run"
        )
    return out, write(source), following


def _check(wanted: Formats, what: str, *, plain: bool) -> None:
    """Raise BadInput for options of export that mean nothing to the layout."""
    if plain and (wanted.further or wanted.uint8):
        raise BadInput(f"a {what} has fp32 graphs for float images", "leave out --precision and --io")
    if wanted.overwrite or (plain and wanted.private):
        holds = "holds nothing of the training data, and " if plain else ""
        raise BadInput(f"a {what} {holds}replaces only what aepipe wrote", "leave out --private and --overwrite")


def _filled(choice: plugins.Choice, fill: Callable[[Path, Path], str | None], bundle: Path, folder: Path) -> str:
    """Have the layout fill the folder; returns what it says of it. Raises AepipeError where it leaves the folder empty."""
    component = choice.component
    with component.running(f" on {bundle}", way_out="give another bundle"):
        said = fill(bundle, folder)
    if not any(path.is_file() for path in folder.rglob("*")):
        raise AepipeError(f"{component} of {component.plugin} wrote nothing", component.report)
    return said if isinstance(said, str) else "written"


def _write_run(
    source: Path, name: str, out: Path, write: Callable[[Path], str], show: bool, formats: Mapping[str, Any]
) -> str:
    """Export the run to a bundle that goes again. What is refused there is not in the layout either."""
    from .export.export import export_run
    from .run import Run

    run = Run(source)
    refused: DensityRefused | PrecisionRefused | None = None
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / name
        try:
            export_run(run, bundle, show=show, hooks=False, **formats)
        except (DensityRefused, PrecisionRefused) as error:
            refused = error
        said = write(bundle)
    if refused:
        raise type(refused)(refused.message.replace(str(bundle), str(out)), refused.hint) from refused
    return said
