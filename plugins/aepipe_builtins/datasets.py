"""Data sets: MNIST and Fashion-MNIST (downloaded once, checked, cached) and scikit-learn's digits (no download)."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from aepipe import hookimpl

if TYPE_CHECKING:
    import numpy as np


@hookimpl
def register_datasets(register):
    register(mnist)
    register(fashion_mnist, name="fashion-mnist")
    register(digits)


def mnist(*, only: int | None = None):
    """70,000 handwritten digits, 28x28 grey (LeCun et al., 1998); downloaded once.

    only: one class, 0 to 9 (default: all)
    """
    from .downloads import Idx

    return _only(Idx("mnist"), only)


def fashion_mnist(*, only: int | None = None):
    """70,000 articles of clothing, 28x28 grey (Xiao et al., 2017); downloaded once.

    only: one class, 0 to 9 (default: all)
    """
    from .downloads import Idx

    return _only(Idx("fashion-mnist"), only)


def digits(*, size: int = 28, only: int | None = None):
    """1,797 real handwritten digits, enlarged from 8x8 (scikit-learn's); no download.

    size: height and width in pixels
    only: one class, 0 to 9 (default: all)
    """
    if not 1 <= size <= 1024:
        raise ValueError("size is from 1 to 1024")
    return _only(Digits(size), only)


def _only(dataset, label: int | None):
    if label is None:
        return dataset
    if not 0 <= label <= 9:
        raise ValueError(f"only={label} is no class: there are 0 to 9")
    return OneClass(dataset, label)


class OneClass:
    """The images of one class, on which a detector of anomalies is trained."""

    def __init__(self, dataset, label: int):
        self.dataset, self.label = dataset, label

    def load(self, split: str) -> np.ndarray:
        return self.dataset.load(split)[self.dataset.labels(split) == self.label]

    def labels(self, split: str) -> np.ndarray:
        labels = self.dataset.labels(split)
        return labels[labels == self.label]


class Digits:
    """Scikit-learn's digits with every fifth image held out as the test split."""

    def __init__(self, size: int):
        self.size = size

    @cached_property
    def _rows(self) -> np.ndarray:
        """64 pixels of 0 to 16 and the class, for each image."""
        import gzip
        from importlib.util import find_spec

        import numpy as np

        found = find_spec("sklearn")
        if found is None or found.origin is None:
            from aepipe import BadInput

            raise BadInput("the data set 'digits' needs scikit-learn", "pip install 'aepipe[train]'")
        try:  # to import scikit-learn takes a second, which most commands need not
            with gzip.open(Path(found.origin).parent / "datasets" / "data" / "digits.csv.gz", "rt") as file:
                return np.loadtxt(file, delimiter=",", dtype=np.int64)
        except OSError:  # another version may keep it elsewhere
            from sklearn.datasets import load_digits

            data, target = load_digits(return_X_y=True)
            return np.column_stack([data, target]).astype(np.int64)

    def load(self, split: str) -> np.ndarray:
        """uint8 [N,1,size,size]: 1,438 to train on, 359 to test."""
        import numpy as np
        from PIL import Image

        images = np.float32(255 / 16) * self._rows[:, :64].reshape(-1, 8, 8).astype(np.float32)
        images = images[_of_split(len(images), split)]
        if self.size != 8:
            target = (self.size, self.size)
            larger = (Image.fromarray(image).resize(target, Image.Resampling.BICUBIC) for image in images)
            images = np.stack([np.asarray(image) for image in larger])
        return np.clip(np.rint(images), 0, 255).astype(np.uint8)[:, None]

    def labels(self, split: str) -> np.ndarray:
        """The digits 0 to 9, int64 [N]."""
        labels = self._rows[:, 64]
        return labels[_of_split(len(labels), split)]


def _of_split(count: int, split: str) -> np.ndarray:
    import numpy as np

    if split not in ("train", "test"):
        raise ValueError(f"there is no split {split!r}: the splits are 'train' and 'test'")
    return (np.arange(count) % 5 == 4) == (split == "test")
