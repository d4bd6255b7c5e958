"""Raw values and the numbers of the graphs: there and back, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from aepipe import BadInput
from aepipe.images.data import open_images
from aepipe.images.ranges import as_raw, in_units, into_graph, raw_of
from aepipe.space import DTYPES, Raw
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from tests.helpers.images import everything

quick = settings(max_examples=60, deadline=None)
WHOLE = [each for each in DTYPES if "int" in each]


@quick
@given(st.data(), st.sampled_from([each for each in WHOLE if not each.endswith("64")]))
def test_whole_numbers_come_back_as_they_were(data, dtype: str) -> None:
    values = data.draw(arrays(dtype, array_shapes(min_dims=2, max_dims=5, max_side=4)))
    raw = raw_of("dtype", np.dtype(dtype), lambda: values, "it")
    graph = into_graph(values, raw, np.arange(len(values)), "it")
    assert graph.dtype == np.float32 and graph.min() >= 0 and graph.max() <= 1
    width = np.iinfo(dtype).max - np.iinfo(dtype).min
    near = 0 if np.dtype(dtype).itemsize <= 2 else width * 2.0**-23  # of float32, in which the graphs compute
    assert np.abs(as_raw(graph, raw).astype(np.float64) - values).max() <= near
    np.testing.assert_allclose(in_units(graph, raw), values, rtol=1e-6, atol=width * 2.0**-22)


@quick
@given(arrays(np.float32, array_shapes(min_dims=2, max_dims=5, max_side=4), elements=st.floats(-1e6, 1e6, width=32)))
def test_unbounded_values_pass_as_they_are(values: np.ndarray) -> None:
    raw = raw_of("none", values.dtype, lambda: values, "it")
    np.testing.assert_array_equal(into_graph(values, raw, np.arange(len(values)), "it"), values)
    np.testing.assert_array_equal(as_raw(values, raw), values)
    np.testing.assert_array_equal(in_units(values, raw), values)


@quick
@given(st.sampled_from(DTYPES), arrays(np.float32, (3, 4), elements=st.floats(-100, 100, width=32)))
def test_what_lies_outside_a_type_is_clipped_to_it(dtype: str, values: np.ndarray) -> None:
    back = as_raw(values, Raw(dtype=dtype, range=(-1e4, 1e4)))
    assert back.dtype == np.dtype(dtype) and np.isfinite(back.astype(np.float64)).all()


def test_auto_leaves_a_few_values_out_and_clips_them() -> None:
    values = np.random.default_rng(0).normal(1000, 100, (200, 1, 8, 8)).astype(np.uint16)
    values[3, 0, 0, 0] = 60_000
    source = open_images(values, range="auto")
    assert source.raw is not None and source.raw.clip and source.raw.range is not None
    low, high = source.raw.range
    assert 500 < low < 800 and 1200 < high < 1500
    assert everything(source).max() == 1


@pytest.mark.parametrize(
    ("given", "values", "message", "hint"),
    [
        (None, np.zeros((4, 8, 8), np.int16), "int16 values", "range"),
        ("0..10", np.full((4, 8, 8), 11, np.uint16), r"leaves the range 0..10: 256 of 256 values do", "clip"),
        ("none", np.full((4, 8, 8), np.nan), "NaN or infinity", "replace"),
        ("0..1", np.full((4, 8, 8), np.inf), "NaN or infinity", "replace"),
        ("none", np.full((4, 8, 8), 1e300), "beyond float32", "scale"),
        ("dtype", np.zeros((4, 8, 8)), "no lowest and highest", "LO..HI"),
        ("auto", np.zeros((4, 8, 8)), "almost all values", "LO..HI"),
        ("10..0", np.zeros((4, 8, 8)), "from a lower to a higher", "LO..HI"),
        ("nan..1", np.zeros((4, 8, 8)), "does not go", "LO..HI"),
        ("everything", np.zeros((4, 8, 8)), "is no range", "LO..HI"),
        ((1, 2, 3), np.zeros((4, 8, 8)), "is no range", "LO..HI"),
    ],
)
def test_what_is_refused(given, values, message, hint) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        everything(open_images(values, range=given))
    assert hint in caught.value.hint


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["uint8", "int8", "uint16", "int16"]),
    st.tuples(*[st.integers(-(2**23), 2**23) | st.integers(-70000, 70000) | st.floats(-1e5, 1e5, width=32)] * 2),
)
def test_numbers_for_graphs_are_rounded_once_from_the_exact_ones(dtype: str, ends: tuple[float, float]) -> None:
    low, high = sorted(map(float, ends))
    if low == high:
        return
    values = np.arange(np.iinfo(dtype).min, np.iinfo(dtype).max + 1).astype(dtype)[None]
    given = into_graph(values, Raw(dtype=dtype, range=(low, high), clip=True), np.arange(1), "it")
    wanted = np.clip((values.astype(np.float64) - low) / (high - low), 0, 1).astype(np.float32)
    assert given.tobytes() == wanted.tobytes()
