"""Volumes: a data set of blobs, and a decoder of three-dimensional transposed convolutions."""

from aepipe import hookimpl


@hookimpl
def register_datasets(register):
    register(grains)


@hookimpl
def register_decoders(register):
    register(grow)


def grains(*, size: int = 8, count: int = 200):
    """One soft blob in each volume.

    size: voxels of a side
    count: volumes in each split
    """
    return Grains(size, count)


class Grains:
    def __init__(self, size, count):
        self.size, self.count = size, count

    def load(self, split):
        import numpy as np

        if split not in ("train", "test"):
            raise ValueError(f"there is no split {split!r}")
        rng = np.random.default_rng(split == "test")
        centre = rng.uniform(1, self.size - 1, (3, self.count, 1, 1, 1))
        places = np.mgrid[: self.size, : self.size, : self.size][:, None]
        return np.exp(-((places - centre) ** 2).sum(0) / 4)[:, None].astype(np.float32)


def grow(latent, shape, *, channels: int = 8):
    """Doubles the sides of a volume.

    channels: before the last layer
    """
    from torch import nn

    if len(shape) != 4 or any(side % 2 for side in shape[1:]):
        raise ValueError("it makes volumes of even sides")
    half = [side // 2 for side in shape[1:]]
    return nn.Sequential(
        nn.Linear(latent, channels * half[0] * half[1] * half[2]),
        nn.ReLU(),
        nn.Unflatten(1, (channels, *half)),
        nn.ConvTranspose3d(channels, shape[0], 4, 2, 1),
    )
