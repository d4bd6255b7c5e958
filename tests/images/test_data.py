"""Data strings: names, slices, limits, and what is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from aepipe import BadInput
from aepipe.images.batches import batches
from aepipe.images.data import open_images
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.images import everything

quick = settings(max_examples=40, deadline=None)


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
