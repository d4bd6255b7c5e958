"""Files of arrays: .npy, .npz, IDX, packed or not, and files that are broken."""

from __future__ import annotations

import gzip
import io
import pickle
import struct

import numpy as np
import pytest
from aepipe import BadInput
from aepipe.images.array_files import IDX_TYPES, load_array_file
from aepipe.images.data import open_images
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.images import everything

sizes = st.integers(1, 6)
quick = settings(max_examples=40, deadline=None)


def idx_bytes(array: np.ndarray) -> bytes:
    code = next(code for code, dtype in IDX_TYPES.items() if np.dtype(dtype) == array.dtype.newbyteorder(">"))
    head = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(IDX_TYPES[code]).tobytes()


@quick
@given(
    st.tuples(sizes, sizes, sizes), st.sampled_from(["u1", "f4", "f8"]), st.booleans(), st.sampled_from(["npy", "idx"])
)
def test_files_round_trip(folder, shape, dtype, packed, kind):
    rng = np.random.default_rng(shape)
    array = rng.integers(0, 256, shape).astype(dtype) if dtype == "u1" else rng.random(shape).astype(dtype)
    path = folder / "anything.bin"  # the content says what it is, not the ending
    if kind == "npy":
        with path.open("wb") as file:
            np.save(file, array)
    else:
        path.write_bytes(idx_bytes(array))
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes(), 1))
    loaded = load_array_file(path)
    assert loaded is not None and loaded.labels is None and isinstance(loaded.images, np.memmap) == (not packed)
    np.testing.assert_array_equal(loaded.images, array)
    images = everything(open_images(path))
    assert images.dtype == (np.uint8 if dtype == "u1" else np.float32) and images.flags.c_contiguous
    np.testing.assert_array_equal(images[:, 0], array.astype(images.dtype))


def bad_files() -> dict[str, bytes]:
    def saved(array) -> bytes:
        file = io.BytesIO()
        np.save(file, array)
        return file.getvalue()

    images = np.zeros((9, 28, 28), np.uint8)
    return {
        "empty.npy": b"",
        "objects.npy": saved(np.array([{}, None], object)),
        "pickle.npy": pickle.dumps(images),
        "truncated.npy": saved(images)[:-100],
        "header.npy": saved(images).replace(b"}", b"("),
        "truncated.idx": idx_bytes(images)[:-1],
        "header.idx": idx_bytes(images)[:9],
        "flat.idx": idx_bytes(images[0, 0]),
        "truncated.npy.gz": gzip.compress(saved(images), mtime=0)[:-20],
        "text.npy.gz": gzip.compress(b"hello", mtime=0),
        "zip.npz": b"PK\x03\x04 nothing that follows",
        "text.png": b"hello, I am text",
    }


@pytest.mark.parametrize(("name", "content"), bad_files().items(), ids=list(bad_files()))
def test_bad_files(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=name) as caught:
        everything(open_images(tmp_path / name))
    assert caught.value.hint


def test_npz_picks_the_images(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5, 6, 7), dtype=np.uint8)
    path = tmp_path / "x.npz"
    np.savez_compressed(path, names=np.array([None] * 5), codes=rng.random((5, 2)), x=images, y=np.arange(5))
    source = open_images(path)
    assert (everything(source)[:, 0] == images).all() and source.labels.tolist() == [0, 1, 2, 3, 4]
    np.savez(path, x=images, images=images[:2], labels=np.arange(5))
    source = open_images(path)
    assert len(source) == 2 and source.labels is None
    np.savez(path, codes=rng.random((5, 2)))
    with pytest.raises(BadInput, match=r"codes \[5, 2\]"):
        open_images(path)
    np.savez(path, images=np.array([None, 1]))
    with pytest.raises(BadInput, match="images"):
        open_images(path)
