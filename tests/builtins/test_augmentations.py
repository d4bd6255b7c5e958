"""Built-in augmentations: what each does."""

from __future__ import annotations

import aepipe
import numpy as np
import pytest
from aepipe import plugins
from hypothesis import given, settings
from hypothesis import strategies as some


def made(spec: str, samples: np.ndarray, seed: int = 0) -> np.ndarray:
    return plugins.create("augmentation", spec)(samples, np.random.default_rng(seed))


def numbered(*shape: int) -> np.ndarray:
    """Samples in which every value is another one."""
    return np.arange(np.prod(shape)).reshape(shape).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(data=some.data(), sides=some.integers(1, 3))
def test_a_patch_is_a_window_of_its_sample(data, sides: int):
    shape = tuple(data.draw(some.integers(1, 9)) for _ in range(sides))
    size = tuple(data.draw(some.integers(1, side)) for side in shape)
    samples = numbered(3, 2, *shape)
    patches = made(f"crop:size={'/'.join(map(str, size))}", samples)
    assert patches.shape == (3, 2, *size)
    for patch, sample in zip(patches, samples, strict=True):
        corner = [int(each[0]) for each in np.nonzero(sample[0] == patch[0].min())]
        window = tuple(slice(start, start + side) for start, side in zip(corner, size, strict=True))
        assert np.array_equal(patch, sample[:, *window])


def test_patches_come_from_everywhere():
    corners = made("crop:size=1", np.broadcast_to(numbered(1, 1, 4, 5), (600, 1, 4, 5)).copy()).ravel()
    counts = np.bincount(corners.astype(int), minlength=20)
    assert counts.min() > 10 and counts.max() < 60


def test_flips_and_turns():
    sample = numbered(1, 2, 5, 5)
    many = np.repeat(sample, 400, 0)
    mirrored = (made("flip", many) == sample[..., ::-1]).all((1, 2, 3))
    assert 150 < mirrored.sum() < 250 and (made("flip", many)[~mirrored] == sample).all()
    assert len(np.unique(made("flip:axis=both", many), axis=0)) == 4
    turned = np.unique(made("rotate90", many), axis=0)
    assert len(turned) == 4 and all(
        any(np.array_equal(np.rot90(sample[0], k, (1, 2)), each) for each in turned) for k in range(4)
    )
    assert np.array_equal(
        np.unique(made("flip", numbered(1, 1, 9).repeat(50, 0)), axis=0)[1], numbered(1, 1, 9)[0, :, ::-1]
    )


def test_jitter_changes_mean_and_contrast_and_knows_the_range():
    samples = np.random.default_rng(1).random((300, 1, 8, 8), dtype=np.float32)
    varied = made("jitter:brightness=0.1,contrast=0.5", samples)
    np.testing.assert_allclose(varied.mean((1, 2, 3)), samples.mean((1, 2, 3)) + 0.1, atol=1e-5)
    np.testing.assert_allclose(varied.std((1, 2, 3)), samples.std((1, 2, 3)) / 2, atol=1e-5)
    assert made("jitter:brightness=0.9", samples).max() == 1
    free = plugins.create("augmentation", "jitter:brightness=2,contrast=1")(
        samples * 50, np.random.default_rng(0), bounded=False
    )
    np.testing.assert_allclose(
        free.mean((1, 2, 3)), 50 * (samples.mean((1, 2, 3)) + 2 * samples.std((1, 2, 3))), rtol=1e-4
    )


@pytest.mark.parametrize(
    ("spec", "shape", "words"),
    [
        ("crop:size=9", (1, 1, 8, 20), "a sample of 8x20 is smaller than the patch of 9x9"),
        ("crop:size=4/4", (1, 1, 8), "cannot be cut out of samples of shape"),
        ("crop", (2, 12), "cannot be cut out of samples of shape"),
        ("flip:axis=vertical", (2, 1, 8), "no vertical side"),
        ("flip", (2, 12), "no own side"),
        ("rotate90", (1, 1, 8, 9), "two equal sides"),
        ("rotate90", (1, 1, 8), "none to turn"),
    ],
)
def test_what_makes_no_sense_is_refused(spec: str, shape: tuple[int, ...], words: str):
    with pytest.raises(ValueError, match=words):
        made(spec, np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    "spec", ["crop:size=0", "crop:size=8/0", "crop:patches=0", "jitter:contrast=-1..1", "flip:axis=up"]
)
def test_options_that_make_no_sense_are_refused(spec: str):
    with pytest.raises(aepipe.BadInput):
        plugins.create("augmentation", spec)
