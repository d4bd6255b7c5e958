"""WAV files: PCM of 8 to 32 bits by the standard library's `wave`, and IEEE floats; one signal [channels, length] a file."""

from __future__ import annotations

import struct
import wave
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from aepipe import BadInput

TYPES = {1: np.dtype("u1"), 2: np.dtype("<i2"), 4: np.dtype("<i4")}
FLOATS = {4: np.dtype("<f4"), 8: np.dtype("<f8")}
FLOAT, EXTENSIBLE = 3, 0xFFFE  # formats: the second one has the number of the first in its further fields


class Content(NamedTuple):
    """What a file holds."""

    channels: int
    width: int  # bytes of a number
    count: int  # numbers of each channel, as the file says
    data: bytes
    floats: bool


class Wav:
    """One file: its signal, whichever split is asked for."""

    def __init__(self, path: str):
        self.path = path

    def load(self, split: str) -> Any:
        """One signal [1, C, L]: uint8, int16 or int32, or float32 or float64; 24 bits stand in the upper ones of int32."""
        if split not in ("train", "test"):
            raise ValueError("the splits are train and test")
        try:
            channels, width, count, content, floats = _floats(self.path) or _integers(self.path)
        except (wave.Error, EOFError, struct.error) as error:
            way_out = "save it as PCM of 8 to 32 bits, or as floats"
            raise BadInput(f"{self.path} is not read: {str(error) or 'it ends too early'}", way_out) from None
        if len(content) != width * channels * count or not count:
            raise BadInput(f"{self.path} is truncated or empty", "repair or remove the file")
        if width == 3:
            wide = np.zeros((len(content) // 3, 4), np.uint8)
            wide[:, 1:] = np.frombuffer(content, np.uint8).reshape(-1, 3)
            content, width = wide.tobytes(), 4
        values = np.frombuffer(content, FLOATS[width] if floats else TYPES[width])
        return Signal(values.reshape(-1, channels).T[None].astype(values.dtype.newbyteorder("=")))


def _integers(path: str) -> Content:
    with wave.open(path, "rb") as file:
        count = file.getnframes()
        return Content(file.getnchannels(), file.getsampwidth(), count, file.readframes(count), False)


def _floats(path: str) -> Content | None:
    """What a file of floats holds; None for another, which `wave` reads or refuses. It is a row of chunks: name, size, content."""
    channels = width = 0
    with Path(path).open("rb") as file:
        head = file.read(12)
        if (head[:4], head[8:]) != (b"RIFF", b"WAVE"):
            return None
        while len(header := file.read(8)) == 8:
            name, size = struct.unpack("<4sI", header)
            if name == b"data" and width:
                return Content(channels, width, size // (channels * width), file.read(size), True)
            if name == b"fmt ":
                chunk = file.read(size + size % 2)
                kind, channels, _, _, _, bits = struct.unpack_from("<HHIIHH", chunk)
                kind = struct.unpack_from("<H", chunk, 24)[0] if kind == EXTENSIBLE else kind
                if kind != FLOAT:
                    return None
                width = bits // 8
                if width not in FLOATS or not channels:
                    raise wave.Error(f"it holds floats of {bits} bits in {channels} channels")
            else:
                file.seek(size + size % 2, 1)
    return None


class Signal:
    """One signal, as a data set of one sample."""

    def __init__(self, values: np.ndarray):
        self.values, self.shape, self.dtype = values, values.shape[1:], values.dtype

    def __len__(self) -> int:
        return len(self.values)

    def read(self, indices: np.ndarray) -> np.ndarray:
        return self.values[indices]
