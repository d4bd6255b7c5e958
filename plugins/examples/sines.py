"""Signals: a data set of two channels in mV, and an encoder of one-dimensional convolutions."""

from aepipe import hookimpl


@hookimpl
def register_datasets(register):
    register(sines)


@hookimpl
def register_encoders(register):
    register(windows)


def sines(*, length: int = 64, count: int = 400):
    """A sine of random frequency and phase, and its noisy echo.

    length: values in each channel
    count: signals in each split
    """
    return Sines(length, count)


class Sines:
    range = "none"  # unbounded values

    def __init__(self, length, count):
        self.length, self.count = length, count

    def load(self, split):
        import numpy as np

        if split not in ("train", "test"):
            raise ValueError(f"there is no split {split!r}")
        rng = np.random.default_rng(split == "test")
        phase, pitch = rng.uniform(0, 2 * np.pi, (self.count, 1)), rng.uniform(1, 4, (self.count, 1))
        wave = 5 * np.sin(2 * np.pi * pitch * np.linspace(0, 1, self.length) + phase)
        echo = 0.5 * np.roll(wave, 3, 1) + 0.1 * rng.standard_normal(wave.shape)
        return np.stack([wave, echo], 1).astype(np.float32)


def windows(shape, features, *, channels: int = 16):
    """Convolutions with stride 2 along the signal.

    channels: of the first layer
    """
    from torch import nn

    if len(shape) != 2:
        raise ValueError("it takes signals")
    length = -(-shape[1] // 4)
    return nn.Sequential(
        nn.Conv1d(shape[0], channels, 5, 2, 2),
        nn.ReLU(),
        nn.Conv1d(channels, 2 * channels, 5, 2, 2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(2 * channels * length, features),
    )
