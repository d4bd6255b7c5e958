"""Arrays: layouts, number types, values."""

from __future__ import annotations

import re

import numpy as np
import pytest
from aepipe import BadInput
from aepipe.images.data import open_images
from aepipe.images.pixels import as_float
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.images import everything

quick = settings(max_examples=40, deadline=None)


@quick
@given(st.integers(1, 5), st.integers(1, 6), st.integers(5, 7), st.integers(8, 9))
def test_layouts(n, c, h, w):
    nchw = np.random.default_rng(n * c).integers(0, 256, (n, c, h, w), dtype=np.uint8)
    nhwc = np.ascontiguousarray(nchw.transpose(0, 2, 3, 1))
    for array in (nchw, nhwc):
        assert (everything(open_images(array, shape=(c, h, w))) == nchw).all()
        if c <= 4:
            assert (everything(open_images(array)) == nchw).all()
    with pytest.raises(BadInput, match=rf"\[{c}, {h}, {w + 1}\]") as caught:
        open_images(nhwc, shape=(c, h, w + 1))
    assert str(list(nhwc.shape)) in caught.value.message


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


@pytest.mark.parametrize(
    ("array", "message", "hint"),
    [
        (np.full((4, 2, 2), 255.0), "image 0 of .* 255 to 255", "divide by 255"),
        (np.where(np.arange(4)[:, None, None] == 2, -0.5, np.zeros((4, 2, 2))), "image 2 of .* -0.5 to -0.5", "scale"),
        (np.where(np.arange(4)[:, None, None] == 3, np.nan, np.zeros((4, 2, 2))), "image 3 of .* NaN", "replace"),
        (np.full((4, 2, 2), np.inf), "image 0 .* infinity", "replace"),
        (np.zeros((4, 2, 2), np.int64), "int64", "range"),
        (np.zeros((4, 2, 2), np.uint16), "uint16", "range"),
        (np.zeros((4, 2, 2), complex), "complex128", "floats"),
        (np.array([["a"]]), "<U1", "uint8"),
        (np.array([None, 1], object), "objects", "numeric"),
        (np.zeros(4, np.uint8), "1 dimensions", r"\[N,H,W\]"),
        (np.zeros((4, 1, 1, 1, 2, 2), np.uint8), "6 dimensions", r"\[N,H,W\]"),
        (np.zeros((4, 1, 256), np.uint8), "signals, or images of 1 rows", "'NCL', or NHW"),
        (np.zeros((4, 3, 3, 3), np.uint8), "channels first or last", "'NCHW', or NHWC"),
        (np.zeros((4, 9, 9, 9), np.uint8), "images of many channels, or volumes", "NDHW"),
        (np.zeros((4, 0, 28), np.uint8), "no pixels", r"\[N,H,W\]"),
        (np.zeros((0, 28, 28), np.uint8), "no images", "empty"),
        ([[1, 2], [3]], "one array", r"\[N,H,W\]"),
        (None, "NoneType", "list of paths"),
    ],
)
def test_bad_arrays(array, message, hint):
    with pytest.raises(BadInput, match=message) as caught:
        everything(open_images(array))
    assert re.search(hint, caught.value.hint) and caught.value.exit_code == 2


def test_torch_tensors():
    torch = pytest.importorskip("torch")
    tensor = torch.rand(4, 3, 8, 8, requires_grad=True)
    np.testing.assert_array_equal(everything(open_images(tensor)), tensor.detach().numpy())
