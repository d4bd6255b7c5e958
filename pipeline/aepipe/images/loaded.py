"""What a data set or a reader of a plugin gives when it is loaded: samples and labels, or a sentence on what is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np

from aepipe.errors import AepipeError
from aepipe.plugins.components import Component

from .arrays import as_array
from .objects import is_array, is_images

WANTED = "an array [N, C, *sides] or an object with shape, len and read(indices)"


def load(component: Component, dataset: Any, split: str) -> tuple[Any, np.ndarray | None]:
    """The samples of a split, an array or an `Images` object, and their labels, one each, if there are any.

    Raises AepipeError that names the plugin where its factory or `load` gives something else.
    """
    who = f"{component} of {component.plugin}"
    if isinstance(dataset, type) or not callable(getattr(dataset, "load", None)):
        given = f"the class {dataset.__name__}" if isinstance(dataset, type) else _a(dataset)
        raise AepipeError(f"{who} gives {given}, where an object with load(split) is needed", component.report)
    samples = dataset.load(split)
    if not (is_images(samples) or is_array(samples) or isinstance(samples, list)):
        raise AepipeError(f"load({split!r}) of {who} gives {_a(samples)}, where {WANTED} is needed", component.report)
    labels = dataset.labels(split) if hasattr(dataset, "labels") else None
    if labels is None:
        return samples, None
    array = as_array(labels, f"what labels({split!r}) of {who} gives", "labels are one number for each sample")
    if array.ndim != 1:
        found = f"an array {list(array.shape)}" if array.ndim else _a(labels)
        raise AepipeError(
            f"labels({split!r}) of {who} gives {found}, where one number for each sample is needed", component.report
        )
    return samples, array


def _a(what: Any) -> str:
    """What something is, in words: a function, an ndarray."""
    name = type(what).__name__
    return "nothing" if what is None else f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
