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
    'mixed:of="gaussian:sigma=1+erase:p=0.5+blur"',
)


def test_mixed_spoils_each_image_in_one_way():
    images = np.full((400, 1, 4, 4), 0.5, np.float32)
    corrupt = plugins.create("corruption", 'mixed:of="gaussian:sigma=0;erase:p=1"')
    spoiled = corrupt(images, np.random.default_rng(0))
    erased = (spoiled == 0).all((1, 2, 3))
    assert 150 < erased.sum() < 250 and (spoiled[~erased] == 0.5).all()
    with pytest.raises(aepipe.BadInput, match="gausian"):
        plugins.create("corruption", "mixed:of=gausian")
    with pytest.raises(aepipe.BadInput, match="jpg"):
        plugins.create("corruption", 'mixed:of="gaussian+jpg"')


def test_one_corruption_follows_another():
    images = np.full((5, 3, 16, 16), 0.5, np.float32)
    both = plugins.create("corruption", 'mixed:of="gaussian:sigma=0.1,clip=false + jpeg:quality=5"')
    alone = plugins.create("corruption", "gaussian:sigma=0.1,clip=false")
    noisy = alone(images, np.random.default_rng(0))
    spoiled = both(images, np.random.default_rng(0))
    assert 0 < np.square(spoiled - 0.5).mean() < np.square(noisy - 0.5).mean() / 2, "JPEG takes away much of the noise"


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


def test_a_range_is_drawn_for_each_sample():
    noise = plugins.create("corruption", "gaussian:sigma=0..0.1")(grey(), np.random.default_rng(0)) - 0.5
    strengths = noise.std((1, 2, 3))
    assert strengths.min() < 0.01 and strengths.max() > 0.09 and strengths.mean() == pytest.approx(0.05, abs=0.005)
    shares = (plugins.create("corruption", "erase:p=0.2..0.8")(grey(), np.random.default_rng(0)) == 0).mean((1, 2, 3))
    assert 0.1 < shares.min() < 0.3 and 0.7 < shares.max() < 0.9
    record = plugins.choose("corruption", "gaussian:sigma=0..0.1").record()
    assert record["options"]["sigma"] == "0..0.1" and plugins.choose("corruption", record).record() == record


@pytest.mark.parametrize("value", ["0.3..0.1", "0..", "..1", "0..1..2", "a..b", "0..nan", "-1..0"])
def test_what_is_no_range_is_refused(value: str):
    with pytest.raises(aepipe.BadInput):
        plugins.create("corruption", f"gaussian:sigma={value}")


def test_noise_that_is_not_clipped_has_its_whole_strength():
    white = np.ones((50, 1, 20, 20), np.float32)
    noise = plugins.create("corruption", "gaussian:sigma=0.2,clip=false")(white, np.random.default_rng(0)) - 1
    assert noise.std() == pytest.approx(0.2, rel=0.03) and noise.max() > 0.3


def test_the_noise_of_a_sensor_grows_with_the_light():
    corrupt = plugins.create("corruption", "poisson:peak=50,sigma=0.02,clip=false")
    for level in (0.1, 0.5, 0.9):
        noise = corrupt(np.full((100, 1, 20, 20), level, np.float32), np.random.default_rng(0)) - level
        assert noise.var() == pytest.approx(level / 50 + 0.02**2, rel=0.03) and abs(noise.mean()) < 0.003


def test_blur_is_a_gaussian_of_unit_sum():
    image = np.zeros((1, 1, 41, 31), np.float32)
    image[0, 0, 20, 15] = 1
    blurred = plugins.create("corruption", "blur:sigma=2")(image, np.random.default_rng(0))[0, 0]
    assert blurred.sum() == pytest.approx(1, abs=1e-4)
    rows = np.arange(41) - 20
    assert (blurred.sum(1) * rows**2).sum() == pytest.approx(4, rel=0.02)
    flat = plugins.create("corruption", "blur:sigma=3")(grey(2), np.random.default_rng(0))
    np.testing.assert_allclose(flat, 0.5, atol=1e-6)  # mirrored at the edges


def test_jpeg_is_worse_at_lower_quality():
    smooth = np.linspace(0, 1, 3 * 32 * 32, dtype=np.float32).reshape(1, 3, 32, 32)
    noisy = np.clip(smooth + np.random.default_rng(0).normal(0, 0.1, smooth.shape), 0, 1).astype(np.float32)
    errors = []
    for quality in (5, 40, 95):
        corrupt = plugins.create("corruption", f"jpeg:quality={quality}")
        errors.append(float(np.abs(corrupt(noisy, np.random.default_rng(0)) - noisy).mean()))
    assert errors[0] > errors[1] > errors[2] > 0
    with pytest.raises(aepipe.BadInput, match="quality is from 1 to 100"):
        plugins.create("corruption", "jpeg:quality=0..50")
    with pytest.raises(ValueError, match="jpeg takes grey and colour images"):
        plugins.create("corruption", "jpeg")(np.zeros((1, 1, 20), np.float32), np.random.default_rng(0))
