"""Zarr folders that zarr-python made, read as the same numbers, each chunk once an epoch."""

from __future__ import annotations

import sys

import aepipe
import numpy as np
import pytest
from aepipe.images.data import open_images, open_test_split
from aepipe.testing import check_reader
from aepipe_science import zarr as reader
from hypothesis import given, settings
from hypothesis import strategies as st

zarr = pytest.importorskip("zarr")


def test_it_keeps_the_contract_of_readers():
    check_reader(reader)


@settings(max_examples=20, deadline=None)
@given(
    dtype=st.sampled_from(["bool", "uint8", ">u2", "int16", "float16", "float32", "float64"]),
    sides=st.lists(st.integers(1, 5), min_size=2, max_size=5),
    chunk=st.integers(1, 4),
    version=st.sampled_from([2, 3]),
)
def test_arrays_of_any_rank_are_read_by_index(tmp_path_factory, dtype, sides, chunk, version):
    path = tmp_path_factory.mktemp("zarr") / "a.zarr"
    values = (np.random.default_rng(0).random(sides) * 200).astype(dtype)
    chunks = (min(chunk, sides[0]), *sides[1:])
    array = zarr.create_array(path, shape=values.shape, dtype=values.dtype, chunks=chunks, zarr_format=version)
    array[:] = values
    read = reader(str(path)).load("train")
    assert read.shape == values.shape and read.dtype.newbyteorder("=") == values.dtype.newbyteorder("=")
    assert read.chunk == chunks[0]
    order = np.random.default_rng(1).integers(0, len(values), 6)
    assert np.array_equal(read[order], values[order]) and np.array_equal(read[1:3], values[1:3])


def group(tmp_path, **arrays):
    path = tmp_path / "a.zarr"
    made = zarr.open_group(path, mode="w")
    for name, values in arrays.items():
        array = made.create_array(name, shape=values.shape, dtype=values.dtype, chunks=(4, *values.shape[1:]))
        array[:] = values
    return path


def test_a_group_lists_its_arrays_of_which_one_is_named(tmp_path):
    images = np.arange(72.0).reshape(2, 6, 6)
    path = group(tmp_path, **{"raw/0": images, "raw/1": images[:, ::2, ::2], "note": np.ones(3)})
    with pytest.raises(aepipe.BadInput, match=r"no array.*raw/0, raw/1") as caught:
        reader(str(path)).load("train")
    assert "[array=NAME]" in caught.value.hint
    with pytest.raises(aepipe.BadInput, match="no array 'raw'"):
        reader(str(path), array="raw").load("train")
    assert np.array_equal(reader(str(path), array="raw/1").load("train")[:], images[:, ::2, ::2])
    with pytest.raises(aepipe.BadInput, match="is one array"):
        reader(str(path / "raw" / "0"), array="0")


def test_damaged_folders_are_refused(tmp_path):
    path = tmp_path / "a.zarr"
    path.mkdir()
    with pytest.raises(aepipe.BadInput, match="is no Zarr folder"):
        reader(str(path))
    array = zarr.create_array(path, shape=(4, 5, 5), dtype="f4", chunks=(2, 5, 5), overwrite=True)
    array[:] = 1
    (path / "c" / "1" / "0" / "0").write_bytes(b"no numbers")
    read = reader(str(path)).load("train")
    assert (read[:2] == 1).all()
    with pytest.raises(aepipe.BadInput, match="truncated or damaged"):
        read[np.array([1, 3])]
    (path / "zarr.json").write_text("{")
    with pytest.raises(aepipe.BadInput, match="is no Zarr folder"):
        reader(str(path))


def test_pickled_objects_are_never_read(tmp_path):
    from numcodecs import Pickle

    path = tmp_path / "a.zarr"
    zarr.create_array(path, shape=(4, 5), dtype="u1", chunks=(4, 5), zarr_format=2, filters=[Pickle()])
    with pytest.raises(aepipe.BadInput, match="pickled"):
        reader(str(path))


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(aepipe.BadInput, match="zarr, which is not installed") as caught:
        reader(str(tmp_path))
    assert "aepipe-science[zarr]" in caught.value.hint


def test_a_model_is_trained_on_the_chunks_of_a_folder(tmp_path):
    rng = np.random.default_rng(0)
    volumes = rng.integers(0, 1000, (10, 1, 5, 6, 7), np.int16)
    path = group(tmp_path, **{"0": volumes, "test/other": volumes})
    source = open_images(f"{path}[array=0]", range="0..1000")
    assert np.array_equal(source.chunks(), [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]) and source.shape == (1, 5, 6, 7)
    assert open_test_split(f"{path}[array=0]") is None, "a folder of this name is no split"
    before = source.state()
    zarr.open_group(path)["0"][0] = 0
    assert open_images(f"{path}[array=0]", range="0..1000").state() != before, "a change of the numbers is seen"
    zarr.open_group(path)["0"][:] = volumes
    networks = {"encoder": "mlp", "decoder": "mlp", "latent_dim": 2, "densities": ()}
    runs = [
        aepipe.fit(data, range="0..1000", epochs=1, out=tmp_path / f"run{at}", show=False, **networks)
        for at, data in enumerate((f"{path}[array=0]", f"{path}[test/other]"))
    ]
    assert runs[0].metrics["mse"] == runs[1].metrics["mse"]


def test_a_folder_that_has_splits_tells_them(tmp_path):
    path = group(tmp_path, train=np.zeros((4, 6, 6), np.uint8), test=np.ones((5, 6, 6), np.uint8))
    found = open_test_split(str(path))
    assert found is not None and len(found) == 5 and len(open_images(str(path), split="train")) == 4
