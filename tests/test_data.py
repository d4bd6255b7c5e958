"""Arrays and array files, data strings, batches and reading ahead."""

from __future__ import annotations

import gzip
import io
import pickle
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from aepipe import BadInput
from aepipe.images.array_files import IDX_TYPES, load_array_file
from aepipe.images.batches import batches
from aepipe.images.data import open_images
from aepipe.images.pixels import as_float
from hypothesis import given, settings
from hypothesis import strategies as st

sizes = st.integers(1, 6)
quick = settings(max_examples=40, deadline=None)


def idx_bytes(array: np.ndarray) -> bytes:
    code = next(code for code, dtype in IDX_TYPES.items() if np.dtype(dtype) == array.dtype.newbyteorder(">"))
    head = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(IDX_TYPES[code]).tobytes()


def everything(source) -> np.ndarray:
    return source.read(np.arange(len(source)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("files")


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
    loaded, labels = load_array_file(path)
    assert labels is None and isinstance(loaded, np.memmap) == (not packed)
    np.testing.assert_array_equal(loaded, array)
    images = everything(open_images(path))
    assert images.dtype == (np.uint8 if dtype == "u1" else np.float32) and images.flags.c_contiguous
    np.testing.assert_array_equal(images[:, 0], array.astype(images.dtype))


@quick
@given(st.integers(1, 5), st.integers(1, 6), st.integers(5, 7), st.integers(8, 9))
def test_layouts(n, c, h, w):
    nchw = np.random.default_rng(n * c).integers(0, 256, (n, c, h, w), dtype=np.uint8)
    nhwc = np.ascontiguousarray(nchw.transpose(0, 2, 3, 1))
    for array in (nchw, nhwc):
        assert (everything(open_images(array, shape=(c, h, w))) == nchw).all()
        if c < h:
            assert (everything(open_images(array)) == nchw).all()
    with pytest.raises(BadInput, match=rf"\[{c}, {h}, {w + 1}\]") as caught:
        open_images(nhwc, shape=(c, h, w + 1))
    assert str(list(nhwc.shape)) in caught.value.message


@quick
@given(
    st.integers(1, 12),
    st.none() | st.integers(-14, 14),
    st.none() | st.integers(-14, 14),
    st.none() | st.integers(-4, 4).filter(bool),
    st.none() | st.integers(1, 9),
)
def test_slices_and_limits(folder, n, start, stop, step, limit):
    array = np.arange(n, dtype=np.uint8)[:, None, None].repeat(2, axis=1)
    np.savez(folder / "x.npz", labels=np.arange(n), images=array)
    text = "[{}:{}:{}]".format(*("" if part is None else part for part in (start, stop, step)))
    expected = np.arange(n)[slice(start, stop, step)][:limit]
    if not len(expected):
        with pytest.raises(BadInput, match="no images"):
            open_images(f"{folder}/x.npz{text}", limit=limit)
        return
    source = open_images(f"{folder}/x.npz{text}", limit=limit)
    assert len(source) == len(expected) and source.shape == (1, 2, 1)
    np.testing.assert_array_equal(everything(source)[:, 0, 0, 0], expected)
    np.testing.assert_array_equal(source.labels, expected)
    back = np.arange(len(source))[::-1]
    np.testing.assert_array_equal(source.read(back)[:, 0, 0, 0], expected[::-1])


def test_single_index_and_brackets_in_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.arange(8, dtype=np.uint8).reshape(8, 1, 1))
    np.save("x[2].npy", np.full((1, 1, 1), 99, np.uint8))
    Path("x[2].npy").rename("x.npy[2]")
    assert everything(open_images("x.npy[3]")).tolist() == [[[[3]]]]
    assert everything(open_images("./x.npy[-1]")).tolist() == [[[[7]]]]
    assert everything(open_images("x.npy[2]")).tolist() == [[[[99]]]]


def test_number_types():
    rng = np.random.default_rng(0)
    values = rng.random((3, 4, 5))
    for dtype in (np.float16, np.float32, np.float64, ">f4"):
        images = everything(open_images(values.astype(dtype)))
        assert images.dtype == np.float32 and np.abs(images[:, 0] - values).max() < 1e-3
    assert everything(open_images(values > 0.5)).tolist() == (values > 0.5).astype(np.float32)[:, None].tolist()
    rounded = everything(open_images(np.array([[[-1e-7, 1 + 5e-7]]])))
    assert rounded.min() == 0 and rounded.max() == 1
    np.testing.assert_array_equal(as_float(np.array([0, 51, 255], np.uint8)), np.float32([0, 0.2, 1]))
    with pytest.raises(BadInput, match="int64"):
        as_float(np.zeros(3, np.int64))


@pytest.mark.parametrize(
    ("array", "message", "hint"),
    [
        (np.full((4, 2, 2), 255.0), "image 0 of .* 255 to 255", "divide by 255"),
        (np.where(np.arange(4)[:, None, None] == 2, -0.5, np.zeros((4, 2, 2))), "image 2 of .* -0.5 to -0.5", "scale"),
        (np.where(np.arange(4)[:, None, None] == 3, np.nan, np.zeros((4, 2, 2))), "image 3 of .* NaN", "replace"),
        (np.full((4, 2, 2), np.inf), "image 0 .* infinity", "replace"),
        (np.zeros((4, 2, 2), np.int64), "int64", "uint8"),
        (np.zeros((4, 2, 2), np.uint16), "uint16", "uint8"),
        (np.zeros((4, 2, 2), complex), "complex128", "floats"),
        (np.array([["a"]]), "<U1", "uint8"),
        (np.array([None, 1], object), "objects", "numeric"),
        (np.zeros((4, 2), np.uint8), "2 dimensions", r"\[N,H,W\]"),
        (np.zeros((4, 1, 1, 2, 2), np.uint8), "5 dimensions", r"\[N,H,W\]"),
        (np.zeros((4, 0, 28), np.uint8), "no pixels", r"\[N,H,W\]"),
        (np.zeros((0, 28, 28), np.uint8), "no images", "empty"),
        ([[1, 2], [3]], "one array", r"\[N,H,W\]"),
        (None, "objects", "numeric"),
    ],
)
def test_bad_arrays(array, message, hint):
    with pytest.raises(BadInput, match=message) as caught:
        everything(open_images(array))
    assert re.search(hint, caught.value.hint) and caught.value.exit_code == 2


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


@pytest.mark.parametrize("text", ["", "mnits", "foo.npy", "fashion:size=3", "mnits[:4]", "\0"])
def test_unknown_names(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match="neither a data set nor a path") as caught:
        open_images(text)
    assert "known: " in caught.value.hint
    assert text != "mnits" or "did you mean 'mnist'" in caught.value.hint


def test_missing_paths_and_wrong_arguments(tmp_path):
    for text in ("./nothing", f"{tmp_path}/nothing.npy[:4]", "~/no/such/thing", "C:\\nothing", tmp_path / "nothing"):
        with pytest.raises(BadInput, match="there is no file or folder"):
            open_images(text)
    array = np.zeros((2, 3, 3), np.uint8)
    for wrong in ({"limit": 0}, {"limit": -1}, {"split": "valid"}, {"image_size": 0}, {"channels": 2}):
        with pytest.raises(BadInput):
            open_images(array, **wrong)
    with pytest.raises(BadInput):
        next(batches(open_images(array), 0))


def test_data_set_names_win_over_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("digits").mkdir()
    assert len(open_images("digits:size=8[:3]", split="train")) == 3
    assert open_images("digits", limit=2).labels.shape == (2,)
    with pytest.raises(BadInput, match="no images in the folder"):
        open_images("./digits")
    with pytest.raises(BadInput, match="no option 'sise'"):
        open_images("digits:sise=8")
    with pytest.raises(BadInput, match="size"):
        open_images("digits:size=0")


def test_torch_tensors():
    torch = pytest.importorskip("torch")
    tensor = torch.rand(4, 3, 8, 8, requires_grad=True)
    np.testing.assert_array_equal(everything(open_images(tensor)), tensor.detach().numpy())
