"""Pulses have the shapes, energies and fluctuations that their sources say, and their noise the spectrum that it names."""

from __future__ import annotations

import numpy as np
import pytest
from aepipe_signals import electronic, pulses
from aepipe_signals.noise import noise_like, spectrum
from aepipe_signals.scintillator import (
    BEFORE,
    DIRECT,
    DROPOUT,
    GAIN,
    GAMMA,
    GOOD,
    HIGH,
    PILE_UP,
    SAMPLE,
    SATURATED,
    Pulses,
    compton_edge,
    peak,
)
from hypothesis import given, settings
from hypothesis import strategies as st

CLEAN = {"only": "good", "noise": 0.0, "wander": 0.0, "photoelectrons": 0.0, "bits": None, "anomalies": 0.0}


@settings(max_examples=20, deadline=None)
@given(
    length=st.integers(16, 400), count=st.integers(5, 60), seed=st.integers(0, 99), bits=st.sampled_from([None, 8, 14])
)
def test_every_size_gives_finite_voltages_that_the_seed_alone_decides(length, count, seed, bits):
    options = {"length": length, "count": count, "seed": seed, "bits": bits}
    made = pulses(**options)
    for split, many in (("train", count), ("test", max(count // 5, 1))):
        volts = made.load(split)
        assert volts.shape == (many, 1, length) and volts.dtype == np.float32 and np.isfinite(volts).all()
        assert np.array_equal(volts, pulses(**options).load(split)) and len(made.labels(split)) == many
    assert not np.array_equal(volts, pulses(**{**options, "seed": seed + 1}).load("test"))


def test_a_clean_pulse_is_a_double_exponential_as_high_as_its_energy():
    data = pulses(**CLEAN, count=200, length=512)
    truth, volts = data.truth("train"), data.load("train")[:, 0]
    time = SAMPLE * np.arange(512)
    since = np.maximum(time - truth.start[:, None], 0)
    decay, rise = truth.decay[:, None], truth.rise[:, None]
    shape = (np.exp(-since / decay) - np.exp(-since / rise)) / (decay - rise)
    expected = GAIN * truth.energy[:, None] * shape / peak(230.0, 40.0)
    assert np.abs(volts - expected).max() < 0.1 * GAIN * truth.energy.max()  # light is gathered over 10 ns
    late = time > truth.start[:, None] + 1000
    ratio = np.where(late, volts / np.maximum(expected, 1e-9), 1)[:, : 512 // 2]
    slopes = np.log(ratio[:, -1] / ratio[:, -20])
    assert np.abs(slopes).max() < 1e-3  # it falls with the time constant of its light
    np.testing.assert_allclose(volts.sum(1) / expected.sum(1), 1, atol=0.01)


def test_energies_are_those_of_caesium_137():
    truth = pulses(only="good", count=20_000).truth("train")
    assert compton_edge() == pytest.approx(477.3, abs=0.1)
    full = truth.energy > 570
    assert truth.energy[full].mean() == pytest.approx(GAMMA, rel=0.005)
    assert full.mean() == pytest.approx(0.4, abs=0.02)
    between = (truth.energy > 530) & (truth.energy < 570)
    assert between.mean() < 0.01  # the valley between Compton edge and peak
    near, half = (((truth.energy > low) & (truth.energy < low + 60)).mean() for low in (400, 220))
    assert near > 1.2 * half  # Compton electrons crowd below the edge


def test_the_line_is_as_wide_as_sodium_iodide_makes_it():
    data = pulses(only="good", noise=0.0, wander=0.0, count=8000)
    area = data.load("train")[:, 0].sum(1)
    line = area[data.truth("train").energy > 570] / area.mean()
    width = 2.355 * np.std(line) / np.mean(line)
    assert 0.06 < width < 0.08


def test_pile_up_is_as_frequent_as_the_rate_says():
    data = pulses(count=20_000, anomalies=0.0, rate=100.0)
    expected = 1 - np.exp(-(1 - BEFORE) * 256 * SAMPLE * 100e-6)
    assert (data.labels("train") == PILE_UP).mean() == pytest.approx(expected, abs=0.01)
    assert not pulses(rate=0.0, anomalies=0.0, count=500).labels("train").any()


def test_anomalies_are_what_their_labels_say():
    data = pulses(count=4000)
    volts, labels, truth = data.load("train")[:, 0], data.labels("train"), data.truth("train")
    for kind in range(2, 6):
        assert (labels == kind).mean() == pytest.approx(0.05, abs=0.015)
    assert (volts[labels == SATURATED].max(1) == HIGH).all() and (volts[labels == GOOD].max(1) < HIGH).all()
    still = (np.diff(volts[labels == DROPOUT]) == 0).sum(1)
    assert (still >= 256 // 16 - 1).all()
    fast = volts[labels == DIRECT]
    after = int(256 * BEFORE) + 30
    assert (fast[:, after:].max(1) < 0.2 * fast.max(1)).all()
    assert set(np.unique(truth.late)) == set(np.flatnonzero(labels == PILE_UP))
    assert not pulses(only="good", count=500).labels("test").any()


def test_the_converter_has_as_many_steps_as_bits():
    volts = pulses(bits=6, count=500).load("train")
    assert len(np.unique(volts)) <= 2**6 and len(np.unique(volts)) > 2**5


@pytest.mark.parametrize("corner", [0.0, 0.02, 0.2])
def test_noise_has_its_spectrum_and_its_deviation(corner):
    made = noise_like((4000, 128), corner, np.random.default_rng(0))
    assert made.std() == pytest.approx(1, rel=0.02)
    long = noise_like((3000, 1024), corner, np.random.default_rng(1))
    window = np.hanning(1024)
    power = (np.abs(np.fft.rfft(long * window)) ** 2).mean(0) / (window**2).sum()
    wanted = spectrum(np.fft.rfftfreq(1024), corner)
    np.testing.assert_allclose(power[10:-10], wanted[10:-10], rtol=0.2)


def test_the_corruption_works_in_the_unit_of_its_values():
    clean = pulses(**CLEAN, count=300).load("train")
    noisy = electronic(sigma=20.0)(clean, np.random.default_rng(0), bounded=False)
    assert (noisy - clean).std() == pytest.approx(20, rel=0.03) and noisy.dtype == np.float32
    for shape in ((3, 4), (3, 1, 50), (3, 2, 5, 7), (2, 1, 3, 4, 5)):
        spoiled = electronic(sigma=0.5)(np.full(shape, 0.5, np.float32), np.random.default_rng(0))
        assert spoiled.shape == shape and spoiled.min() >= 0 and spoiled.max() <= 1


@pytest.mark.parametrize(
    "options",
    [{"length": 4}, {"count": 1}, {"noise": -1.0}, {"rate": -1.0}, {"anomalies": 0.3}, {"bits": 2}, {"seed": -1}],
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        pulses(**options)


def test_other_splits_and_negative_noise_are_refused():
    with pytest.raises(ValueError, match="train and test"):
        pulses().labels("validation")
    with pytest.raises(ValueError, match="sigma"):
        electronic(sigma=-1.0)
    assert Pulses.range == "none"


def test_no_module_takes_the_name_of_a_factory():
    """Importing a module of a package would put it in the place of the factory."""
    import pkgutil

    import aepipe_signals

    modules = {module.name for module in pkgutil.iter_modules(aepipe_signals.__path__)}
    assert modules and not modules & {"pulses", "showers", "electronic"}
