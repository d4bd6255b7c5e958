"""Codes as they are stored: packing, unpacking, the files that hold them, and what is none."""

from __future__ import annotations

from pathlib import Path

import aepipe
import numpy as np
import pytest
from aepipe.errors import BadInput
from aepipe.images.code_files import CODE_TYPES, Difference, load_codes
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

SHAPES = npst.array_shapes(min_dims=2, max_dims=5, min_side=1, max_side=4)
FLOATS = npst.arrays(np.float32, SHAPES, elements=st.floats(width=32, allow_nan=False, allow_infinity=False))


@given(FLOATS)
def test_int8_lies_at_most_half_a_step_away(codes: np.ndarray) -> None:
    packed = aepipe.pack_codes(codes, "int8")
    assert (packed["codes"].dtype, packed["codes"].shape) == (np.int8, codes.shape)
    assert packed["scale"].shape == packed["offset"].shape == codes.shape[1:2]
    back = aepipe.unpack_codes(packed)
    assert (back.dtype, back.shape) == (np.float32, codes.shape)
    step = packed["scale"].astype(np.float64).reshape(-1, *[1] * (codes.ndim - 2))
    rounding = 2 * np.spacing(np.maximum(np.abs(back), np.abs(codes)) / 2).astype(np.float64)
    assert (np.abs(back.astype(np.float64) - codes) <= step * (0.5 + 1e-9) + rounding).all()
    low, high = (side(codes.astype(np.float64), (0, *range(2, codes.ndim))) for side in (np.min, np.max))
    offset_rounding = 2 * np.spacing(np.abs(packed["offset"]) / 2).astype(np.float64)
    slack = 1 + 1e-6
    assert (step.ravel() <= (high / 2 - low / 2 + offset_rounding) / 127 * slack + 1.5e-45).all(), "no step is wasted"


@given(FLOATS)
def test_float16_is_the_nearest_or_is_refused(codes: np.ndarray) -> None:
    if (np.abs(codes) >= 65520).any():
        with pytest.raises(BadInput, match="beyond float16"):
            aepipe.pack_codes(codes, "float16")
        return
    packed = aepipe.pack_codes(codes, "float16")
    assert packed["codes"].dtype == np.float16
    np.testing.assert_array_equal(aepipe.unpack_codes(packed), codes.astype(np.float16).astype(np.float32))


@given(FLOATS)
def test_float32_stays_as_it_is(codes: np.ndarray) -> None:
    np.testing.assert_array_equal(aepipe.unpack_codes(aepipe.pack_codes(codes, "float32")), codes)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False), SHAPES)
def test_channels_that_do_not_vary_are_exact(value: float, shape: tuple[int, ...]) -> None:
    codes = np.full(shape, value, np.float32)
    np.testing.assert_array_equal(aepipe.unpack_codes(aepipe.pack_codes(codes)), codes)


@pytest.mark.parametrize("dtype", CODE_TYPES)
def test_no_codes_are_packed_as_no_codes(dtype) -> None:
    for shape in [(0, 8), (0, 2, 4, 4)]:
        assert aepipe.unpack_codes(aepipe.pack_codes(np.zeros(shape, np.float32), dtype)).shape == shape


@pytest.mark.parametrize("dtype", CODE_TYPES)
def test_what_is_packed_goes_through_a_file(dtype, tmp_path: Path) -> None:
    codes = np.random.default_rng(0).normal(3, 2, (7, 3, 2, 5)).astype(np.float32)
    packed = aepipe.pack_codes(codes, dtype)
    np.savez(tmp_path / "codes.npz", **packed)
    expected = aepipe.unpack_codes(packed)
    with np.load(tmp_path / "codes.npz") as arrays:
        np.testing.assert_array_equal(aepipe.unpack_codes(arrays), expected)
    stored = load_codes(str(tmp_path / "codes.npz"), limit=4)
    np.testing.assert_array_equal(stored.floats(), expected[:4])
    np.testing.assert_array_equal(stored.floats(slice(1, 3)), expected[1:3])


@pytest.mark.parametrize(
    "codes", [np.zeros(3), np.zeros(()), np.array([["a"]]), np.full((2, 2), np.nan), np.array([[1e300]]), [[1, 2], [3]]]
)
def test_what_are_no_codes_is_not_packed(codes) -> None:
    with pytest.raises(BadInput):
        aepipe.pack_codes(codes)


def test_an_unknown_type_is_refused() -> None:
    with pytest.raises(BadInput, match="'int4'"):
        aepipe.pack_codes(np.zeros((2, 2)), "int4")  # type: ignore[arg-type]


WHOLE = np.zeros((4, 3), np.int8)
STEP = np.ones(3, np.float32)


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"codes": WHOLE},
        {"codes": WHOLE, "scale": STEP},
        {"codes": WHOLE, "scale": STEP, "offset": STEP[:2]},
        {"codes": WHOLE, "scale": STEP * np.nan, "offset": STEP},
        {"codes": WHOLE, "scale": STEP.astype(np.int64), "offset": STEP},
        {"codes": WHOLE[:, 0], "scale": STEP, "offset": STEP},
    ],
)
def test_int8_codes_need_their_scales(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        aepipe.unpack_codes(arrays)
    np.savez(tmp_path / "codes.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match=r"codes\.npz"):
        load_codes(str(tmp_path / "codes.npz"))


def test_int8_in_npy_has_lost_its_scales(tmp_path: Path) -> None:
    np.save(tmp_path / "codes.npy", WHOLE)
    with pytest.raises(BadInput, match="without their scale") as caught:
        load_codes(str(tmp_path / "codes.npy"))
    assert "npz" in (caught.value.hint or "")


@given(FLOATS.filter(lambda codes: np.abs(codes).max() < 1e15), st.integers(1, 4))
def test_differences_in_parts_are_those_of_all(codes: np.ndarray, size: int) -> None:
    stored = aepipe.unpack_codes(aepipe.pack_codes(codes))
    difference = Difference()
    for start in range(0, len(codes), size):
        difference.add(codes[start : start + size], stored[start : start + size])
    wide = codes.astype(np.float64)
    apart = np.abs(wide - stored)
    about = wide - wide.mean((0, *range(2, codes.ndim)), keepdims=True)
    assert difference.largest == apart.max()
    np.testing.assert_allclose(difference.rms, np.sqrt(np.square(apart).mean()), rtol=1e-6)
    np.testing.assert_allclose(difference.spread, about.std(), rtol=1e-3, atol=1e-6 * np.abs(wide).max())
