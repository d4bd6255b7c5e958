"""HDF5 and WAV files that their libraries made, read as the same numbers."""

from __future__ import annotations

import struct
import wave

import aepipe
import h5py
import numpy as np
import pytest
from aepipe.images.data import open_images
from aepipe.testing import check_reader
from aepipe_science import hdf5, tiff, wav


def test_they_keep_the_contract_of_readers():
    for reader in (tiff, hdf5, wav):
        check_reader(reader)


def test_an_array_is_found_by_name_or_split_or_alone(tmp_path):
    path = tmp_path / "a.h5"
    arrays = {"train/images": np.arange(48.0).reshape(3, 4, 4), "test/images": np.ones((2, 4, 4))}
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    data = hdf5(str(path))
    assert data.splits and data.load("test").shape == (2, 4, 4)
    read = data.load("train")
    assert np.array_equal(read[np.array([2, 0, 2])], arrays["train/images"][[2, 0, 2]])
    assert hdf5(str(path), member="test/images").load("train").shape == (2, 4, 4)
    with pytest.raises(aepipe.BadInput, match=r"no array 'x'.*train/images"):
        hdf5(str(path), member="x").load("train")


def test_two_arrays_without_a_name_are_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"], file["b"] = np.ones((2, 4, 4)), np.ones((2, 4, 4))
    with pytest.raises(aepipe.BadInput, match="a, b"):
        hdf5(str(tmp_path / "a.h5")).load("train")


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_a_signal_keeps_its_numbers(tmp_path, width):
    rng = np.random.default_rng(0)
    low, high = (0, 255) if width == 1 else (-(1 << (8 * width - 1)), (1 << (8 * width - 1)) - 1)
    values = rng.integers(low, high, (50, 2), endpoint=True)
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(width)
        file.setframerate(8000)
        file.writeframes(b"".join(int(v).to_bytes(width, "little", signed=width > 1) for v in values.ravel()))
    signal = wav(str(tmp_path / "a.wav")).load("train").read(np.array([0]))[0]
    assert np.array_equal(signal, values.T * (256 if width == 3 else 1))
    (tmp_path / "a.wav").write_bytes((tmp_path / "a.wav").read_bytes()[:-5])
    with pytest.raises(aepipe.BadInput, match="truncated"):
        wav(str(tmp_path / "a.wav")).load("train")


def float_wav(path, values, extensible, declared=None):
    """A file of IEEE floats [n, channels], with a chunk between format and data that nobody needs."""
    width, channels = values.dtype.itemsize, values.shape[1]
    kind = 0xFFFE if extensible else 3
    form = struct.pack("<HHIIHH", kind, channels, 8000, 8000 * width * channels, width * channels, 8 * width)
    if extensible:  # bits that count, place of the channels, and 3 with the rest of its GUID
        form += struct.pack("<HHIH", 22, 8 * width, 0, 3) + bytes.fromhex("000000001000800000aa00389b71")
    data = values.astype(values.dtype.newbyteorder("<")).tobytes()
    chunks = [(b"fmt ", form, len(form)), (b"odd ", b"abc\0", 3), (b"data", data, declared or len(data))]
    body = b"".join(name + struct.pack("<I", size) + content for name, content, size in chunks)
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body)


@pytest.mark.parametrize("extensible", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floats_are_read(tmp_path, dtype, extensible):
    values = np.random.default_rng(0).standard_normal((50, 3)).astype(dtype)
    float_wav(tmp_path / "a.wav", values, extensible)
    signal = wav(str(tmp_path / "a.wav")).load("train").read(np.array([0]))[0]
    assert signal.dtype == dtype and np.array_equal(signal, values.T)


def test_floats_that_cannot_be_read_are_refused(tmp_path):
    path = tmp_path / "a.wav"
    float_wav(path, np.ones((50, 2), np.float32), False, declared=4000)
    with pytest.raises(aepipe.BadInput, match="truncated"):
        wav(str(path)).load("train")
    float_wav(path, np.ones((50, 2), np.float16), False)
    with pytest.raises(aepipe.BadInput, match="floats of 16 bits"):
        wav(str(path)).load("train")
    path.write_bytes(b"RIFF....WAVEfmt \x02\0\0\0\x03\0")
    with pytest.raises(aepipe.BadInput, match="is not read"):
        wav(str(path)).load("train")


def test_a_file_is_opened_by_name_with_its_chunks(tmp_path):
    path = tmp_path / "a.h5"
    values = np.arange(10 * 36, dtype=np.uint16).reshape(10, 6, 6)
    with h5py.File(path, "w") as file:
        file.create_dataset("packed/raw", data=values, chunks=(4, 6, 3), compression="gzip")
        file["plain"] = values
        file.create_dataset("one", (10, 1024, 1024), np.uint8, chunks=(10, 1, 1024))
        file.create_dataset("many", (1000, 1024, 1024), np.uint8, chunks=(1000, 1, 1))
    source = open_images(f"{path}[packed/raw]", range="dtype")
    assert np.array_equal(source.chunks(), [0, 0, 0, 0, 1, 1, 1, 1, 2, 2])
    assert np.array_equal(source.read_raw(np.array([9, 2]))[:, 0], values[[9, 2]])
    assert open_images(f"{path}[plain]", range="dtype").chunks() is None
    assert np.array_equal(open_images(f"{path}[one]").chunks(), [0] * 10)
    assert open_images(f"{path}[many]").chunks() is None, "4 GB of floats that lie together are not kept in memory"
