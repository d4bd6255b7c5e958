"""Showers keep their energy, and have the depths, widths and fluctuations that their sources say."""

from __future__ import annotations

import numpy as np
import pytest
from aepipe_signals import showers
from aepipe_signals.calorimeter import CRITICAL, INTERACTION, LAYER, LEAST_LOSS, disc_in_cells, mean_deposits
from hypothesis import given, settings
from hypothesis import strategies as st

LARGE = (40, 60, 60)  # cells that hold a whole shower


@settings(max_examples=15, deadline=None)
@given(size=st.tuples(*[st.integers(1, 14)] * 3), count=st.integers(5, 40), scale=st.sampled_from(["log", "gev"]))
def test_every_size_gives_deposits_that_the_seed_alone_decides(size, count, scale):
    made = showers(size=size, count=count, scale=scale)
    for split, many in (("train", count), ("test", max(count // 5, 1))):
        values = made.load(split)
        assert values.shape == (many, 1, *size) and values.dtype == np.float32
        assert np.isfinite(values).all() and values.min() >= 0
        assert scale == "gev" or values.max() < made.range[1]
        assert np.array_equal(values, showers(size=size, count=count, scale=scale).load(split))


@settings(max_examples=20, deadline=None)
@given(
    radius=st.floats(0.05, 3), y=st.floats(-1, 1), x=st.floats(-1, 1), height=st.integers(1, 8), width=st.integers(1, 8)
)
def test_shares_of_cells_are_integrals_of_the_density(radius, y, x, height, width):
    found = disc_in_cells(np.array([[radius]]), np.array([[y, x]]), (1, height, width))[0, 0]
    fine = 200
    rows = (np.arange(height * fine) + 0.5) / fine - height / 2 - y
    columns = (np.arange(width * fine) + 0.5) / fine - width / 2 - x
    density = radius**2 / np.pi / (rows[:, None] ** 2 + columns**2 + radius**2) ** 2 / fine**2
    np.testing.assert_allclose(found, density.reshape(height, fine, width, fine).sum((1, 3)), atol=1e-3)


@pytest.mark.parametrize("label", [0, 1])
def test_a_large_calorimeter_holds_all_energy(label):
    many, rng = 8, np.random.default_rng(0)
    energy = np.full(many, 20.0)
    made = mean_deposits(np.full(many, label), energy, np.zeros((many, 2)), LARGE, rng)
    np.testing.assert_allclose(made.sum((1, 2, 3)), energy, rtol=0.08)
    assert (made.sum((1, 2, 3)) <= energy * 1.001).all()


@pytest.mark.parametrize("energy", [5.0, 30.0, 100.0])
def test_electrons_reach_their_maximum_where_longo_and_sestili_say(energy):
    """At ln(E / Ec) - 0.5 radiation lengths, where layers are two of them."""
    many = 400
    made = mean_deposits(
        np.zeros(many, int), np.full(many, energy), np.zeros((many, 2)), (20, 12, 12), np.random.default_rng(0)
    )
    layers = made.sum((2, 3)).mean(0)
    top = int(layers.argmax())
    a, b, c = np.log(layers[top - 1 : top + 2])
    depth = 2 * (top + 0.5 + (a - c) / (a - 2 * b + c) / 2)
    assert depth == pytest.approx(np.log(energy / CRITICAL) - 0.5, abs=0.7)


def test_ninety_per_cent_of_an_electron_lie_within_a_moliere_radius():
    rng, many = np.random.default_rng(0), 200
    made = mean_deposits(np.zeros(many, int), np.full(many, 20.0), np.zeros((many, 2)), (20, 20, 20), rng)
    middle = made[:, :, 9:11, 9:11].sum() / made.sum()  # a square of 2 by 2 Moliere radii
    assert 0.85 < middle < 0.95


def test_pions_begin_deeper_fluctuate_more():
    data = {kind: showers(only=kind, scale="gev", count=1500, lowest=50.0, noise=0.0) for kind in ("electron", "pion")}
    made = {kind: each.load("train")[:, 0] for kind, each in data.items()}
    share = {kind: made[kind].sum((1, 2, 3)) / data[kind].truth("train").energy for kind in data}
    assert share["electron"].mean() > 0.95 and share["electron"].std() < 0.05
    assert share["pion"].std() > 4 * share["electron"].std()
    deep = {kind: (each.sum((2, 3)) @ np.arange(12)) / each.sum((1, 2, 3)) for kind, each in made.items()}
    assert deep["pion"].mean() > deep["electron"].mean() + 1


def test_a_pion_loses_little_until_it_interacts():
    many, rng = 2000, np.random.default_rng(0)
    made = mean_deposits(np.ones(many, int), np.full(many, 50.0), np.zeros((many, 2)), (4, 40, 40), rng).sum((2, 3))
    track = np.isclose(made, LEAST_LOSS * LAYER, rtol=0.01)
    for layer in range(4):
        assert track[:, layer].mean() == pytest.approx(np.exp(-(layer + 1) * LAYER / INTERACTION), abs=0.04)


def test_sums_fluctuate_with_the_square_root_of_the_energy():
    many, energy = 3000, 20.0
    data = showers(size=(1, 1, 1), count=5, sampling=0.2, noise=0.0)
    seen = data._read(np.full((many, 4, 4, 4), energy / 64), np.random.default_rng(0)).sum((1, 2, 3))
    assert seen.mean() == pytest.approx(energy, rel=0.01)
    assert seen.std() / energy == pytest.approx(0.2 / energy**0.5, rel=0.06)


def test_cells_below_three_times_their_noise_read_nothing():
    values = showers(scale="gev", noise=0.05, count=100).load("train")
    assert (values[values > 0] > 0.15).all() and (values == 0).any()


def test_logarithms_are_those_of_the_energies_and_lie_in_the_range():
    log, gev = showers(count=50), showers(count=50, scale="gev")
    np.testing.assert_allclose(10 ** log.load("test") - 1, 1000 * gev.load("test"), rtol=1e-3, atol=1e-3)
    assert gev.range == "none" and log.range[0] == 0


@pytest.mark.parametrize(
    "options",
    [{"size": (4, 4)}, {"size": (0, 4, 4)}, {"count": 2}, {"lowest": 0.1}, {"sampling": -1.0}, {"noise": -1.0}],
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        showers(**options)


def test_other_splits_are_refused():
    with pytest.raises(ValueError, match="train and test"):
        showers().load("validation")
