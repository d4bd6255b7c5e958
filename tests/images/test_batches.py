"""Batches: order, number types, images that cannot be read, reading ahead, memory."""

from __future__ import annotations

import itertools
import sys
import threading
import time
from typing import ClassVar

import numpy as np
import pytest
from aepipe import AepipeError, BadInput
from aepipe.images.arrays import array_images
from aepipe.images.batches import batches, prefetch, raw_batches
from aepipe.images.data import open_images

from tests.helpers.commands import python
from tests.helpers.images import everything


class Squares:
    """A stranger's images."""

    def __init__(self, reply=None):
        self.shape, self.reply = (1, 2, 2), reply

    def __len__(self):
        return 10

    def read(self, indices):
        return np.full((len(indices), 1, 2, 2), 0.5, np.float32) if self.reply is None else self.reply


def test_images_objects():
    source = open_images(Squares(), limit=7)
    assert [len(batch.images) for batch in batches(source, 3)] == [3, 3, 1]
    with pytest.raises(BadInput, match="the model takes"):
        open_images(Squares(), shape=(1, 28, 28))
    with pytest.raises(AepipeError, match="was due"):
        open_images(Squares(np.zeros((1, 2, 2)))).read(np.arange(2))
    with pytest.raises(BadInput, match=r"image 4 of array .* 0 to 9"):
        open_images(Squares(np.array([0.0, 9.0] * 2).reshape(1, 1, 2, 2))).read(np.array([4]))


def test_batches_are_float_in_order_and_complete():
    array = np.random.default_rng(0).integers(0, 256, (23, 5, 6), dtype=np.uint8)
    found = list(batches(open_images(array), 5))
    assert np.concatenate([batch.indices for batch in found]).tolist() == list(range(23))
    images = np.concatenate([batch.images for batch in found])
    assert images.dtype == np.float32 and all(batch.images.flags.c_contiguous for batch in found)
    np.testing.assert_array_equal(images[:, 0], array / np.float32(255))
    raw = np.concatenate([batch.images for batch in raw_batches(open_images(array), 5)])
    assert raw.dtype == np.uint8 and (raw[:, 0] == array).all()
    raw[:] = 0  # batches are the reader's own
    assert array.any()


def test_small_images_are_read_many_batches_at_once():
    class Counted(Squares):
        reads: ClassVar[list[int]] = []

        def __len__(self):
            return 100_000

        def read(self, indices):
            self.reads.append(len(indices))
            return super().read(indices)

    found = list(batches(open_images(Counted()), 7))
    assert {len(batch.indices) for batch in found[:-1]} == {7} and len(found[-1].indices) == 100_000 % 7
    assert np.concatenate([batch.indices for batch in found]).tolist() == list(range(100_000))
    assert len(Counted.reads) < 10 and max(Counted.reads) * 4 * 4 <= 2**20
    Counted.reads.clear()
    assert len(list(batches(open_images(Counted()), 90_000))) == 2 and Counted.reads == [90_000, 10_000]


def test_part_of_a_source():
    array = np.arange(40, dtype=np.uint8).reshape(10, 2, 2)
    found = list(batches(open_images(array), 3, parts=[range(2, 9)]))
    assert [batch.indices.tolist() for batch in found] == [[2, 3, 4], [5, 6, 7], [8]]
    np.testing.assert_array_equal(np.concatenate([b.images for b in found])[:, 0], array[2:9] / np.float32(255))
    assert list(batches(open_images(array), 3, parts=[range(4, 4)])) == []
    nothing = np.full((4, 2, 2), np.nan)
    assert list(batches(open_images(nothing), 3, parts=[range(1, 3)], skip_bad=True)) == []


def test_skip_bad_arrays():
    array = np.zeros((10, 2, 2), np.float32)
    array[[3, 4, 9]] = np.nan
    bad = []
    found = list(batches(open_images(array), 2, skip_bad=True, on_bad=lambda i, error: bad.append((i, error.message))))
    assert [batch.indices.tolist() for batch in found] == [[0, 1], [2], [5], [6, 7], [8]]
    assert [i for i, _ in bad] == [3, 4, 9] and all(f"image {i} of" in message for i, message in bad)
    with pytest.raises(BadInput, match="image 3 of"):
        list(batches(open_images(array), 2))
    with pytest.raises(BadInput, match="none of the 2 images"):
        list(batches(open_images(array[3:5]), 2, skip_bad=True))


def our_threads() -> int:
    return sum(thread.name == "aepipe-prefetch" for thread in threading.enumerate())


def test_prefetch():
    made = []

    def count():
        for i in itertools.count():
            made.append(i)
            yield i

    before = our_threads()
    assert list(prefetch([3, None, 1])) == [3, None, 1]
    ahead = prefetch(count(), depth=2)
    assert [next(ahead), next(ahead)] == [0, 1]
    time.sleep(0.1)
    assert len(made) <= 2 + 2 and our_threads() == before + 1
    ahead.close()
    assert our_threads() == before

    def breaks():
        yield 1
        raise BadInput("broken")

    ahead = prefetch(breaks())
    assert next(ahead) == 1
    with pytest.raises(BadInput, match="broken"):
        next(ahead)
    assert our_threads() == before


@pytest.mark.skipif(sys.platform != "linux", reason="measures resident memory as Linux counts it")
def test_sequential_reading_keeps_memory_flat(tmp_path):
    images = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.uint8, (300_000, 28, 28))  # 235 MB, sparse
    images[::1000] = 7
    del images
    code = (
        "import re, sys; from aepipe.images.batches import batches; from aepipe.images.data import open_images\n"
        "source = open_images(sys.argv[1])\n"
        "peak = lambda: int(re.search('VmHWM:\\\\s+(\\\\d+)', open('/proc/self/status').read())[1])\n"
        "first = None\n"
        "for batch in batches(source, 1000): first = first or (batch.indices[0] >= 10_000 and peak())\n"
        "print(peak() - first)"
    )
    answer = python(code, tmp_path / "x.npy", check=True)
    assert int(answer.stdout) < 20_000, "resident memory (KB) grows with the length of the input"


def test_views_of_mappings_are_read_and_kept(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(60, dtype=np.uint8).reshape(5, 3, 4))
    written = np.load(tmp_path / "x.npy", mmap_mode="c")
    written[0] = 200  # private changes would be lost with the pages
    for _ in range(2):
        assert (everything(open_images(written))[0] == 200).all()
    view = np.load(tmp_path / "x.npy", mmap_mode="r")[1:, ::-1]
    assert array_images(view).mapping is not None
    np.testing.assert_array_equal(everything(open_images(np.asarray(view)))[:, 0], view)
