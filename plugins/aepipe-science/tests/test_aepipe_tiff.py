"""TIFF files that tifffile made, read as the same numbers, and results written in the form of their inputs."""

from __future__ import annotations

import subprocess
import sys
from itertools import product
from pathlib import Path

import aepipe
import numpy as np
import pytest
import tifffile
from aepipe_science import tiff
from hypothesis import assume, given, settings
from hypothesis import strategies as st

TYPES = [np.dtype(name) for name in ("uint8", "uint16", "int16", "uint32", "int32", "float16", "float32", "float64")]
AXES = ("YX", "ZYX", "TYX", "CYX", "TCYX", "ZCYX", "TZYX", "TZCYX", "YXS", "TYXS", "TZYXS")


def numbers(shape: tuple[int, ...], dtype: np.dtype, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if dtype.kind == "f":
        return rng.normal(0, 100, shape).astype(dtype)
    return rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def sample_of(array: np.ndarray, axes: str, pages: str) -> np.ndarray:
    """The samples that an array holds, put together number by number."""
    sizes = dict(zip(axes, array.shape, strict=True))
    channels = [axis for axis in axes if axis in "CS"] if pages != "channels" else [a for a in axes if a not in "YX"]
    depth = [axis for axis in axes if axis == "Z" or ("Z" not in axes and axis == "T")] if pages == "volume" else []
    samples = [axis for axis in axes if axis not in (*channels, *depth, "Y", "X")]
    found = []
    for at in product(*(range(sizes[axis]) for axis in samples)):
        one = []
        for channel in product(*(range(sizes[axis]) for axis in channels)):
            planes = []
            for deep in product(*(range(sizes[axis]) for axis in depth)):
                where = dict(zip((*samples, *channels, *depth), (*at, *channel, *deep), strict=True))
                planes.append(array[tuple(where.get(axis, slice(None)) for axis in axes)])
            one.append(np.stack(planes) if pages == "volume" else planes[0])
        found.append(np.stack(one))
    return np.stack(found)


@settings(max_examples=60, deadline=None)
@given(
    dtype=st.sampled_from(TYPES),
    axes=st.sampled_from(AXES),
    sizes=st.tuples(*[st.integers(1, 3)] * 3),
    pages=st.sampled_from(["samples", "volume", "channels"]),
    how=st.sampled_from(["plain", "big-endian", "tiled", "zlib", "ome"]),
)
def test_whatever_tifffile_writes_is_read_as_the_same_numbers(tmp_path_factory, dtype, axes, sizes, pages, how):
    assume(how != "ome" or dtype != np.float16)  # which OME does not have
    size = dict(zip("TZC", sizes, strict=True)) | {"S": 3, "Y": 20, "X": 17}
    array = numbers(tuple(size[axis] for axis in axes), dtype)
    path = tmp_path_factory.mktemp("tiff") / "a.tif"
    ways = {"tiled": {"tile": (16, 16)}, "zlib": {"compression": "zlib"}, "big-endian": {"byteorder": ">"}}
    colour = "rgb" if "S" in axes else "minisblack"
    tifffile.imwrite(path, array, photometric=colour, ome=how == "ome", metadata={"axes": axes}, **ways.get(how, {}))
    with tifffile.TiffFile(path) as file:
        told = file.series[0].axes  # what the file itself says of its axes: those of one number may be left out
        array = array.reshape(file.series[0].shape)
    read = tiff(str(path), pages=pages).load("train")
    wanted = sample_of(array, told, pages)
    order = np.random.default_rng(1).permutation(len(wanted))
    assert len(read) == len(wanted) and read.shape == wanted.shape[1:]
    values = read.read(order)
    assert values.dtype == dtype and np.array_equal(values, wanted[order])


def test_an_imagej_stack_is_read(tmp_path):
    array = numbers((4, 2, 9, 8), np.dtype("uint16"))
    tifffile.imwrite(tmp_path / "a.tif", array, imagej=True, metadata={"axes": "TCYX"})
    read = tiff(str(tmp_path / "a.tif")).load("train")
    assert np.array_equal(read.read(np.array([3, 0])), array[[3, 0]])


def test_half_floats_with_axes_of_ome_are_read(tmp_path):
    """OME has no name for them, so that tifffile does not write them; some programs call them int16 and say float in the tags."""
    array = numbers((4, 2, 9, 8), np.dtype("float16"))
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, array.view(np.int16), ome=True, metadata={"axes": "TCYX"})
    with tifffile.TiffFile(path, mode="r+b") as file:
        for page in file.pages:
            page.tags["SampleFormat"].overwrite(3)
    read = tiff(str(path)).load("train")
    values = read.read(np.array([3, 0]))
    assert values.dtype == np.float16 and np.array_equal(values, array[[3, 0]])


@pytest.fixture
def bad(tmp_path) -> Path:
    return tmp_path / "bad.tif"


def refusal(path: Path, **options: object) -> str:
    with pytest.raises(aepipe.BadInput) as caught:
        made = tiff(str(path), **options)
        made.load("train").read(np.array([0]))
    return str(caught.value)


def test_a_truncated_file_is_refused(bad):
    tifffile.imwrite(bad, numbers((3, 64, 64), np.dtype("uint16")))
    bad.write_bytes(bad.read_bytes()[:-9000])
    assert "truncated or damaged" in refusal(bad)


def test_an_unknown_compression_names_what_reads_it(bad):
    tifffile.imwrite(bad, numbers((64, 64), np.dtype("uint16")))
    content = bytearray(bad.read_bytes())
    with tifffile.TiffFile(bad) as file:
        place = file.pages[0].tags["Compression"].valueoffset
    content[place : place + 2] = (50000).to_bytes(2, "little")  # ZSTD, which these bytes are not
    bad.write_bytes(content)
    assert "bad.tif" in refusal(bad)


def test_pages_of_different_sizes_are_refused(bad):
    with tifffile.TiffWriter(bad) as file:
        file.write(numbers((8, 8), np.dtype("uint16")))
        file.write(numbers((9, 8), np.dtype("uint16")))
    assert "2 stacks of images" in refusal(bad)


def folder_of(tmp_path: Path, dtype: str = "uint16", count: int = 24) -> Path:
    """Spots on a dark ground, of a 12-bit camera."""
    rng, (y, x) = np.random.default_rng(0), np.mgrid[:20, :20]
    folder = tmp_path / "in"
    folder.mkdir()
    for index in range(count):
        row, column = rng.uniform(4, 16, 2)
        spot = 500 + 3000 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 20)
        tifffile.imwrite(folder / f"{index:02d}.tif", spot.astype(dtype))
    return folder


def run(*words: object) -> str:
    """What a command of aepipe says; it has to succeed."""
    done = subprocess.run([sys.executable, "-m", "aepipe", *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_a_folder_keeps_type_and_units_from_training_to_results(tmp_path, dtype):
    folder, bundle = folder_of(tmp_path, dtype), tmp_path / "bundle"
    pca = ("--encoder", "pca", "--decoder", "pca", "--latent-dim", 20)
    run("train", "--data", folder, "--image-size", 16, "--range", "0..4095", *pca, "-o", tmp_path / "run")
    run("export", tmp_path / "run", "-o", bundle)
    run("infer", "reconstruct", bundle, folder, "-o", tmp_path / "out")
    run("infer", "reconstruct", bundle, folder, "-o", tmp_path / "out.tif")
    run("infer", "reconstruct", bundle, folder, "--tile", "-o", tmp_path / "tiles")
    written = sorted((tmp_path / "out").glob("*"))
    assert [path.name for path in written] == [path.name for path in sorted(folder.glob("*"))]
    single = np.stack([tifffile.imread(path) for path in written])
    stack = tifffile.imread(tmp_path / "out.tif")
    assert single.dtype == stack.dtype == dtype and single.shape == stack.shape == (24, 16, 16)
    assert np.abs(single.astype(float) - stack).max() <= 1e-3
    again = aepipe.load(bundle).reconstruct(str(folder))
    assert np.abs(single - again[:, 0]).max() <= 0.51, "raw units, rounded to the type"
    tiles = tifffile.imread(tmp_path / "tiles" / "00.tif")
    assert tiles.shape == (20, 20) and tiles.dtype == dtype and 300 < tiles.mean() < 3000
