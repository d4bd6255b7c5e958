"""Checks of tasks of `aepipe infer`. A small bundle is exported for them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from aepipe.infer.plugin_tasks import run_task
from aepipe.infer.streams import Reading
from aepipe.plugins import Choice
from aepipe.runtime.model import load

from .bundles import images, small_bundle
from .report import Subject, require, trying, without_torch

COUNT = 7  # samples, in batches of 3


def written(subject: Subject) -> bytes:
    """What the task writes of some samples."""
    subject.make()  # raises Refused or Unbuilt
    component = subject.component
    choice = Choice(component, component.settle(subject.options), component.name)
    ending = (getattr(subject.make(), "endings", None) or (".txt",))[0]
    with tempfile.TemporaryDirectory() as folder, load(small_bundle(), "cpu", batch_size=3) as model:
        np.save(Path(folder, "in.npy"), images(COUNT))
        out = Path(folder, f"out{ending}")
        run_task(choice, model, Reading(), str(out), input=str(Path(folder, "in.npy")))
        return out.read_bytes()


def writes_its_file(subject: Subject) -> None:
    """Of a model and an input it writes OUT, of the ending that it names, with something in it."""
    with trying("the task", "write one file, at the path that is the third argument"):
        content = written(subject)
    require(content, "OUT is empty", "write what was computed into OUT")


def is_the_same_each_time(subject: Subject) -> None:
    """The same model and input give the same file."""
    with trying("the task", "write one file, at the path that is the third argument"):
        same = written(subject) == written(subject)
    require(same, "a second run writes another file", "seed what is drawn, and write no times or paths")


def works_without_torch(subject: Subject) -> None:
    """It runs where torch is not installed: inference has none."""
    small_bundle()  # torch exports it
    with without_torch(), trying("without torch", "compute with the model and NumPy: the runtime has no torch"):
        written(subject)


CHECKS: list[Callable[[Subject], None]] = [writes_its_file, is_the_same_each_time, works_without_torch]
