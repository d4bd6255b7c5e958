"""Simple TIFF files, which are read directly, and all others, which are left to tifffile: the same numbers, bit for bit."""

from __future__ import annotations

import io

import aepipe
import numpy as np
import pytest
import tifffile
from aepipe_science import tiff
from aepipe_science.plain_tiff import plain_page
from aepipe_science.tiff_files import TiffSamples
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

TYPES = [f"{kind}{size}" for kind, sizes in (("u", "1248"), ("i", "1248"), ("f", "248")) for size in sizes]


def bits(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Any bits at all: also infinities, and numbers that are none."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer(np.random.default_rng(0).bytes(size), dtype).reshape(shape)


def same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


@settings(max_examples=80, deadline=None)
@given(
    dtype=st.sampled_from(TYPES),
    height=st.integers(1, 30),
    width=st.integers(1, 30),
    order=st.sampled_from("<>"),
    rows=st.none() | st.integers(1, 30),
    compression=st.sampled_from([None, None, "zlib", "lzw", "packbits"]),
    colour=st.sampled_from(["minisblack", "minisblack", "miniswhite"]),
    how=st.sampled_from(
        ["plain", "plain", "bare", "imagej", "ome", "bigtiff", "tiled", "predictor", "stack", "rgb", "channel", "words"]
    ),
)
def test_what_is_read_directly_is_what_tifffile_reads(
    tmp_path_factory, dtype, height, width, order, rows, compression, colour, how
):
    path = tmp_path_factory.mktemp("tiff") / "a.tif"
    shape = {"stack": (2, height, width), "channel": (1, height, width), "rgb": (height, width, 3)}.get(
        how, (height, width)
    )
    special = {
        "bare": {"metadata": None, "software": False},
        "imagej": {"imagej": True},
        "ome": {"ome": True},
        "bigtiff": {"bigtiff": True},
        "tiled": {"tile": (16, 16)},
        "predictor": {"predictor": True},
        "rgb": {"photometric": "rgb"},
        "words": {"description": "taken on a Friday", "metadata": None, "datetime": True, "resolution": (3, 4)},
    }.get(how, {})
    options = {"photometric": colour, "compression": compression, "rowsperstrip": rows, **special}
    try:
        tifffile.imwrite(path, bits(shape, dtype), byteorder=order, **options)
    except Exception:  # tifffile refuses what a form does not have: floats of 64 bits for ImageJ, and such
        assert how not in ("plain", "bare")
        return
    read = plain_page(str(path))
    if how in ("plain", "bare") and compression in (None, "zlib"):
        assert read is not None
    if how in ("ome", "bigtiff", "tiled", "stack", "rgb", "channel", "words") or compression in ("lzw", "packbits"):
        assert read is None
    if read is not None:
        assert same(read, tifffile.imread(path)) and read.flags.writeable
        assert same(read[None, None], TiffSamples(str(path), "samples").read(np.array([0])))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=3),
    st.sampled_from([None, "zlib"]),
    st.integers(0, 300),
)
def test_a_damaged_file_is_never_read_as_others_than_by_tifffile(tmp_path_factory, changes, compression, cut):
    path = tmp_path_factory.mktemp("tiff") / "a.tif"
    tifffile.imwrite(path, bits((6, 8), "u2"), compression=compression, rowsperstrip=3)
    content = bytearray(path.read_bytes())
    for at, value in changes:
        content[at % len(content)] = value
    path.write_bytes(content[: len(content) - cut] if cut < 30 else content)
    if (read := plain_page(str(path))) is not None:
        assert same(read[None, None], TiffSamples(str(path), "samples").read(np.array([0])))


@pytest.mark.parametrize("mode", ["L", "I;16", "I", "F", "1", "P", "RGB", "RGBA"])
@pytest.mark.parametrize("compression", [None, "tiff_deflate", "tiff_lzw"])
def test_files_of_another_program_are_read_alike(tmp_path, mode, compression):
    image = Image.fromarray(bits((70, 90), "u2") if mode == "I;16" else bits((70, 90), "u1"))
    image = image if mode == "I;16" else image.convert(mode)
    image.save(tmp_path / "a.tif", compression=compression)
    read = plain_page(str(tmp_path / "a.tif"))
    assert (read is not None) == (mode in ("L", "I;16", "I", "F") and compression != "tiff_lzw")
    if read is not None:
        assert same(read, tifffile.imread(tmp_path / "a.tif")) and np.array_equal(read, np.asarray(image))


def test_an_image_of_imagej_is_read_directly_and_a_stack_is_not(tmp_path):
    path, values = tmp_path / "a.tif", bits((9, 8), ">u2")
    said = "ImageJ=1.53t\nunit=micron\nmin=0.0\nmax=65535.0\n"
    tifffile.imwrite(path, values, byteorder=">", description=said, metadata=None, resolution=(3, 4))
    read = plain_page(str(path))
    assert read is not None and same(read, values.astype("u2")) and same(read, tifffile.imread(path))
    tifffile.imwrite(path, values, byteorder=">", description=f"{said}images=2\nslices=2\n", metadata=None)
    assert plain_page(str(path)) is None


def test_a_strip_that_unpacks_to_more_than_the_page_is_refused(tmp_path):
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.zeros((4000, 4000), np.uint8), compression="zlib", rowsperstrip=4000)
    content = bytearray(stream.getvalue())
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        places = [file.pages[0].tags[name].valueoffset for name in ("ImageLength", "RowsPerStrip")]
    for place in places:
        content[place : place + 4] = (2).to_bytes(4, "little")
    (tmp_path / "a.tif").write_bytes(content)
    assert plain_page(str(tmp_path / "a.tif")) is None


@pytest.mark.parametrize("content", [b"", b"II*\0", b"II*\0\x08\0\0\0", b"no picture"])
def test_what_is_no_tiff_file_is_refused(tmp_path, content):
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(aepipe.BadInput, match=r"a\.tif"):
        tiff(str(tmp_path / "a.tif")).load("train")
