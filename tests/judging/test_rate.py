"""Bits per pixel of codes that are maps: by hand, by the codes themselves, and on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import aepipe
import numpy as np
import pytest
from aepipe.judging.rate import Rate
from aepipe.space import Size
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

MAPS = Path(__file__).parents[1] / "fixtures/format-2-maps/bundle"


def test_bits_are_those_that_a_hand_counts() -> None:
    rate = Rate(Size(4, 16, 16), 1)
    rate.add(3, (64, 64))
    assert rate.bits_per_pixel == {"float32": 8.0, "float16": 4.0, "int8": 2.0}
    padded = Rate(Size(2, None, None), 8)
    padded.add(1, (9, 16))  # stored as 16 by 16 pixels are: 2 by 2 positions of two numbers
    assert padded.bits_per_pixel["int8"] == 8 * 8 / (9 * 16)
    same = Rate(Size(3, None, None), 8, 8)  # codes that are as large as their images
    same.add(2, (16, 24))
    assert same.bits_per_pixel["float32"] == 3 * 32


@given(st.integers(1, 8), st.integers(1, 16), st.lists(st.tuples(st.integers(1, 70), st.integers(1, 70)), min_size=1))
def test_padding_never_takes_less_than_the_multiple_does(channels, multiple, sizes) -> None:
    rate = Rate(Size(channels, None, None), multiple)
    for sides in sizes:
        rate.add(1, sides)
    least = 8 * channels / multiple**2
    assert rate.bits_per_pixel["int8"] >= least * (1 - 1e-12)
    if all(side % multiple == 0 for sides in sizes for side in sides):
        assert rate.bits_per_pixel["int8"] == pytest.approx(least)


@pytest.mark.parametrize("sides", [(16, 24), (13, 22)])
def test_eval_says_what_the_stored_codes_take(sides, call, tmp_path: Path) -> None:
    samples = np.random.default_rng(0).integers(0, 4096, (5, 1, *sides), np.uint16)
    np.save(tmp_path / "in.npy", samples)
    asked = ["eval", MAPS, "--data", tmp_path / "in.npy", "--provider", "cpu"]
    found = json.loads(call(*asked, "--json").out)["bits_per_pixel"]
    with aepipe.load(MAPS, "cpu") as model:
        codes = model.encode(samples)
    for dtype, bits in found.items():
        stored = aepipe.pack_codes(codes, dtype)["codes"]
        assert bits == pytest.approx(8 * stored.nbytes / (5 * sides[0] * sides[1]))
    table = call(*asked).out
    for dtype in ("float32", "float16", "int8"):
        assert f"bits per pixel, {dtype}" in table


def test_eval_of_vectors_says_nothing_of_pixels(call, kept_bundle: Path) -> None:
    outcome = call("eval", kept_bundle, "--data", "digits[:4]", "--provider", "cpu", "--json")
    assert outcome.code == 0 and "bits_per_pixel" not in json.loads(outcome.out)


def test_files_of_mixed_sizes_count_each_at_its_own(call, tmp_path: Path) -> None:
    sizes = [(16, 24), (13, 22), (7, 40)]
    (tmp_path / "photos").mkdir()
    for number, sides in enumerate(sizes):
        Image.fromarray(np.full(sides, 40 * number, np.uint8)).save(tmp_path / "photos" / f"{number}.png")
    outcome = call("eval", MAPS, "--data", tmp_path / "photos", "--provider", "cpu", "--json")
    assert outcome.code == 0, outcome.err
    numbers = sum(2 * -(-height // 4) * -(-width // 4) for height, width in sizes)
    pixels = sum(height * width for height, width in sizes)
    assert json.loads(outcome.out)["bits_per_pixel"]["int8"] == pytest.approx(8 * numbers / pixels)
