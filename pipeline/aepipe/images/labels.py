"""Labels: which class each sample is of, as whole numbers from 0."""

from __future__ import annotations

from typing import Any

import numpy as np

from aepipe._types import Array

from .source import Source

UNKNOWN = -1
MOST_CLASSES = 2**20  # a higher label is no class but a number of another meaning


def class_labels(labels: Any) -> Array | None:
    """The labels of a source as int64 [N], UNKNOWN where there is none (a negative number or NaN).

    None where no sample has a class: there are no labels, or they are texts, fractions, or beyond MOST_CLASSES.
    """
    if labels is None or np.ndim(labels) != 1 or np.asarray(labels).dtype.kind not in "biuf":
        return None
    found = np.asarray(labels)
    known = ~np.isnan(found) & (found >= 0)
    values = np.where(known, found, 0)
    if not known.any() or values.max() >= MOST_CLASSES or (values != np.floor(values)).any():
        return None
    return np.where(known, values, UNKNOWN).astype(np.int64)


def class_count(labels: Array | None) -> int | None:
    """One more than the highest of `class_labels`; None where there are none."""
    return None if labels is None else int(labels.max()) + 1


def class_counts(labels: Array | None, classes: int | None) -> list[int] | None:
    """How many of `class_labels` there are of each class; None where there are none."""
    if labels is None or classes is None:
        return None
    return np.bincount(labels[labels != UNKNOWN], minlength=classes).tolist()


def lacking(source: Source) -> str:
    """A sentence for a source whose labels are needed and are no classes."""
    if source.labels is None:
        return f"{source.name} has no labels"
    return f"the labels of {source.name} are no classes, which are whole numbers from 0"
