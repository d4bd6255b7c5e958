"""The entry to the half that needs torch. Each function imports its stage when it is called, or says how to install it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aepipe.errors import AepipeError, BadInput

if TYPE_CHECKING:
    from aepipe._types import Array

    from .run import Run

TRAIN_EXTRA = "pip install 'aepipe[train]'"
BROUGHT_BY_IT = ("torch", "onnx", "onnx_ir", "onnxscript", "safetensors", "sklearn")


@contextmanager
def training_extra() -> Iterator[None]:
    """A block that needs the training extra; raises AepipeError that says how to install it where a package is missing."""
    try:
        Path.cwd()
    except FileNotFoundError:  # torch's own libraries end the whole process there
        raise BadInput("the current folder does not exist any more", "cd to one that does") from None
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name and error.name.partition(".")[0] in BROUGHT_BY_IT:
            raise AepipeError(f"this command needs {error.name}, which is not installed", TRAIN_EXTRA) from error
        raise


def open_run(directory: str | Path) -> Run:
    """The run in a folder; raises BadInput when there is none."""
    with training_extra():
        from .run import Run
    return Run(directory)


def fit(images: Any, **options: Any) -> Run:
    """Train, as `aepipe.fit` does."""
    with training_extra():
        from .fit import fit
    return fit(images, **options)


def resume(directory: str | Path, **options: Any) -> Run:
    """Continue a run, as `aepipe.resume` does."""
    with training_extra():
        from .fit import resume
    return resume(directory, **options)


def reconstruction(run: Run) -> Callable[[Array], Array]:
    """The best model of a run as a function from images [N, C, H, W] in 0..1 to images of the same shape."""
    with training_extra():
        from .training.finish import reconstruction
    return reconstruction(run.model())


def export_layout(layout: str, source: str | Path, out: str | Path | None, **formats: Any) -> tuple[Path, str, str]:
    """Write a run or a bundle in the form of a layout; a bundle needs onnx, but not torch."""
    with training_extra():
        from .layouts import export_layout

        return export_layout(layout, source, out, **formats)
