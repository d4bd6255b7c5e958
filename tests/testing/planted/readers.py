"""Faults of readers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from aepipe import BadInput

from tests.testing.planted import fault


class Writer:
    """Appends samples to a list, which becomes an .npy."""

    def __init__(self, path):
        self.path = path

    def __enter__(self):
        self.parts = []
        return self

    def write(self, samples):
        self.parts.append(samples)

    def __exit__(self, *_):
        with Path(self.path).open("wb") as file:
            np.save(file, np.concatenate(self.parts))


class File:
    def __init__(self, path):
        self.path = path

    def load(self, split):
        try:
            return np.load(self.path)
        except (OSError, ValueError) as error:
            raise BadInput(str(error), "give an .npy file") from None


def _with(**attributes):
    def mark(factory):
        vars(factory).update({"endings": (".raw",), "writer": Writer} | attributes)
        return factory

    return mark


@fault("reader", "names_endings", "endings = ")
@_with(endings=("raw",), writer=None)
def forgets_the_dot(path):
    "Endings without a dot."
    return File(path)


@fault("reader", "leaves_others_alone", "return None")
@_with()
def takes_everything(path):
    "An empty sample for what is no file of its own."

    class Anything(File):
        def load(self, split):
            try:
                return super().load(split)
            except BadInput:
                return np.zeros((1, 1, 8, 9), np.uint8)

    return Anything(path)


@fault("reader", "leaves_others_alone", "raise BadInput")
@_with()
def fails_in_its_own_way(path):
    "KeyError for what is no file of its own."

    class Failing(File):
        def load(self, split):
            try:
                return super().load(split)
            except BadInput:
                raise KeyError(split) from None

    return Failing(path)


@fault("reader", "reads_what_it_writes", "keep numbers, type and order")
@_with()
def loses_the_type(path):
    "Everything as float32."

    class Floating(File):
        def load(self, split):
            return super().load(split).astype(np.float32)

    return Floating(path)
