"""Built-in corruptions: what each does."""

from __future__ import annotations

import aepipe
import numpy as np
import pytest
from aepipe import plugins

# Corruptions


CORRUPTIONS = (
    "gaussian",
    "gaussian:sigma=0",
    "saltpepper",
    "erase",
    "block",
    "block:size=99",
    "downsample",
    "downsample:factor=5",
    "mixed",
    'mixed:of="gaussian:sigma=1;erase:p=1"',
)


def test_mixed_spoils_each_image_in_one_way():
    images = np.full((400, 1, 4, 4), 0.5, np.float32)
    corrupt = plugins.create("corruption", 'mixed:of="gaussian:sigma=0;erase:p=1"')
    spoiled = corrupt(images, np.random.default_rng(0))
    erased = (spoiled == 0).all((1, 2, 3))
    assert 150 < erased.sum() < 250 and (spoiled[~erased] == 0.5).all()
    with pytest.raises(aepipe.BadInput, match="gausian"):
        plugins.create("corruption", "mixed:of=gausian")


@pytest.mark.parametrize("spec", CORRUPTIONS)
@pytest.mark.parametrize("shape", [(5, 1, 28, 28), (2, 3, 7, 10), (1, 1, 1, 1)])
def test_corruptions_keep_range_shape_and_input(spec: str, shape: tuple[int, ...]):
    corrupt = plugins.create("corruption", spec)
    images = np.random.default_rng(0).random(shape, dtype=np.float32)
    before = images.copy()
    spoiled = corrupt(images, np.random.default_rng(3))
    assert spoiled.shape == shape and spoiled.dtype == np.float32
    assert spoiled.min() >= 0 and spoiled.max() <= 1
    assert np.array_equal(images, before) and not np.shares_memory(images, spoiled)
    assert np.array_equal(spoiled, corrupt(images, np.random.default_rng(3)))


def grey(count: int = 200) -> np.ndarray:
    return np.full((count, 3, 20, 20), 0.5, np.float32)


def test_what_each_corruption_does():
    rng = np.random.default_rng(0)
    noise = plugins.create("corruption", "gaussian:sigma=0.1")(grey(), rng) - 0.5
    assert noise.std() == pytest.approx(0.1, rel=0.02) and abs(noise.mean()) < 0.002
    salted = plugins.create("corruption", "saltpepper:amount=0.3")(grey(), rng)
    assert (salted == 0).mean() == pytest.approx(0.15, abs=0.01) == (salted == 1).mean()
    erased = plugins.create("corruption", "erase:p=0.7")(grey(), rng)
    assert (erased == 0).mean() == pytest.approx(0.7, abs=0.01)
    for image in (*salted[:5], *erased[:5]):
        assert np.array_equal(image[0], image[1])  # a pixel goes in all its channels
    holes = plugins.create("corruption", "block:size=6")(grey(), rng) == 0
    assert (holes.sum((2, 3)) == 36).all() and len({tuple(np.argwhere(hole[0])[0]) for hole in holes}) > 50


def test_downsampling_averages_also_at_the_edge():
    image = np.arange(15, dtype=np.float32).reshape(1, 1, 3, 5) / 14
    small = plugins.create("corruption", "downsample:factor=2")(image, np.random.default_rng(0))
    assert small[0, 0, 0, 0] == pytest.approx(image[0, 0, :2, :2].mean()) == small[0, 0, 1, 1]
    assert small[0, 0, 2, 4] == pytest.approx(image[0, 0, 2, 4])
    assert small[0, 0, 0, 4] == pytest.approx(image[0, 0, :2, 4].mean())
