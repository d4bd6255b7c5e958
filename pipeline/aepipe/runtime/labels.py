"""Labels for densities that are told a class: what was asked for, or drawn as often as the training samples have each class."""

from __future__ import annotations

from typing import Any

import numpy as np

from aepipe._types import Array
from aepipe.bundle.manifest import Role
from aepipe.bundle.reader import Bundle
from aepipe.errors import BadInput

STREAM = 1  # labels come from a generator of their own, so that they change no noise


def drawn_labels(bundle: Bundle, seed: int, part: range) -> Array:
    """The labels `part`, int64, of those that `seed` draws: each class as often as it is among the training samples."""
    generator = np.random.PCG64(np.random.SeedSequence([seed, STREAM]))
    generator.advance(part.start)  # a number of 64 bits for each label
    edges = bundle.class_shares.cumsum()
    return np.searchsorted(edges / edges[-1], np.random.Generator(generator).random(len(part)), side="right")


def checked_labels(bundle: Bundle, role: Role, density: str, label: Any, count: int) -> Array:
    """A label, or one for each of `count` rows, as int64 [count]. Raises BadInput for a density that takes none, for what is no
    whole number, for a label that is not there, and for one that no training sample has."""
    if not bundle.takes_label(role, density):
        able = [each for each in bundle.densities if bundle.takes_label(role, each)]
        hint = (
            f"with a label: {', '.join(able)}"
            if able
            else "'aepipe fit-density RUN gmm:by_class=true' fits one that does"
        )
        raise BadInput(f"the density {density!r} of {bundle.name} takes no label", hint)
    labels = np.asarray(label)
    if labels.dtype.kind not in "iu" or labels.shape not in ((), (count,)):
        message = f"{label!r:.80} is no label, and not one for each of {count} samples"
        raise BadInput(message, "give a whole number, or an array of as many whole numbers")
    shares = bundle.class_shares
    known = [int(each) for each in np.flatnonzero(shares)]
    wrong = labels[~np.isin(labels, known)]
    if wrong.size:
        there = "there is no label" if not 0 <= int(wrong.flat[0]) < len(shares) else "no training sample has the label"
        raise BadInput(f"{there} {int(wrong.flat[0])} in {bundle.name}", f"its labels: {_shown(known)}")
    return np.full(count, labels, np.int64) if labels.ndim == 0 else labels.astype(np.int64)


def _shown(labels: list[int]) -> str:
    if labels == list(range(len(labels))):
        return f"0 to {len(labels) - 1}"
    return ", ".join(map(str, labels[:20])) + (", …" if len(labels) > 20 else "")
