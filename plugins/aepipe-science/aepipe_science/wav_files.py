"""WAV files of 8 to 32 bits, by the standard library's `wave`: one signal [channels, length] a file."""

from __future__ import annotations

import wave
from typing import Any

import numpy as np
from aepipe import BadInput

TYPES = {1: np.dtype("u1"), 2: np.dtype("<i2"), 4: np.dtype("<i4")}


class Wav:
    """One file: its signal, whichever split is asked for."""

    def __init__(self, path: str):
        self.path = path

    def load(self, split: str) -> Any:
        """One signal [1, C, L]: uint8, int16 or int32; 24 bits stand in the upper ones of int32."""
        if split not in ("train", "test"):
            raise ValueError("the splits are train and test")
        try:
            with wave.open(self.path, "rb") as file:
                width, channels, count = file.getsampwidth(), file.getnchannels(), file.getnframes()
                content = file.readframes(count)
        except (wave.Error, EOFError) as error:
            raise BadInput(f"{self.path} is not read: {error}", "save it as PCM of 8 to 32 bits") from None
        if len(content) != width * channels * count or not count:
            raise BadInput(f"{self.path} is truncated or empty", "repair or remove the file")
        if width == 3:
            wide = np.zeros((len(content) // 3, 4), np.uint8)
            wide[:, 1:] = np.frombuffer(content, np.uint8).reshape(-1, 3)
            content, width = wide.tobytes(), 4
        values = np.frombuffer(content, TYPES[width])
        return Signal(values.reshape(-1, channels).T[None].astype(values.dtype.newbyteorder("=")))


class Signal:
    """One signal, as a data set of one sample."""

    def __init__(self, values: np.ndarray):
        self.values, self.shape, self.dtype = values, values.shape[1:], values.dtype

    def __len__(self) -> int:
        return len(self.values)

    def read(self, indices: np.ndarray) -> np.ndarray:
        return self.values[indices]
