"""The axes of arrays: those that are said, those that a model's shape tells, and those that cannot be told."""

from __future__ import annotations

import numpy as np
import pytest
from aepipe import BadInput
from aepipe.images.arrays import NAMED, Layout
from aepipe.images.data import open_images
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.images import everything

quick = settings(max_examples=80, deadline=None)


@quick
@given(st.sampled_from(NAMED), st.data())
def test_samples_come_out_channels_first_whatever_the_layout(axes: str, data) -> None:
    sizes = {"N": data.draw(st.integers(1, 3)), "C": 1}
    sizes |= {each: data.draw(st.integers(1, 4)) for each in axes if each != "N"}
    sides = axes[1:].replace("C", "")
    order = ["N", "C", *sides]
    first = np.random.default_rng(0).random([sizes[each] for each in order], np.float32)
    array = first[:, 0] if "C" not in axes else first.transpose([order.index(each) for each in axes])
    shape = first.shape[1:]
    np.testing.assert_array_equal(everything(open_images(array, layout=axes)), first)
    assert Layout(axes).shape(array.shape) == shape
    if len({*shape}) == len(shape) and "C" in axes:  # then the model's shape alone tells it
        np.testing.assert_array_equal(everything(open_images(array, shape=shape)), first)


@quick
@given(st.integers(1, 3), st.integers(1, 4), st.sampled_from([(), (16,), (5, 7), (3, 3, 3)]))
def test_data_sets_are_never_guessed(count: int, channels: int, sides: tuple[int, ...]) -> None:
    class Given:
        shape = (channels, *sides)

        def __len__(self) -> int:
            return count

        def read(self, indices: np.ndarray) -> np.ndarray:
            return np.zeros((len(indices), *self.shape), np.uint8)

    assert open_images(Given()).shape == (channels, *sides)


@pytest.mark.parametrize(
    ("shape", "axes", "message"),
    [
        ((4, 1, 64), None, "may hold signals, or images of 1 rows"),
        ((4, 2, 2, 2), None, "channels first or last"),
        ((4, 16, 16, 16), None, "images of many channels, or volumes"),
        ((4, 9, 9, 9, 9), None, "channels first or last"),
        ((4, 8, 8), "NCHW", "has 3 dimensions, and the layout NCHW 4"),
        ((4, 8, 8), "HWN", "there is no layout"),
        ((4,), None, "1 dimensions"),
    ],
)
def test_what_cannot_be_told_is_refused(shape, axes, message) -> None:
    with pytest.raises(BadInput, match=message):
        open_images(np.zeros(shape, np.uint8), layout=axes)


def test_the_layout_that_was_taken_is_said() -> None:
    assert ", layout NHWC [2, 8, 9, 3]" in open_images(np.zeros((2, 8, 9, 3), np.uint8)).describe()
    assert "2 1-channel 64 signals" in open_images(np.zeros((2, 1, 64), np.uint8), layout="NCL").describe()
