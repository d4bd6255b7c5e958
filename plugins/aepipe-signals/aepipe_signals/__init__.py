"""Data of particle detectors for aepipe: the data sets `pulses` and `showers`, and the corruption `electronic`."""

from __future__ import annotations

from typing import Literal

from aepipe import hookimpl


@hookimpl
def register_datasets(register):
    register(pulses)
    register(showers)


@hookimpl
def register_corruptions(register):
    register(electronic)


def pulses(
    *,
    only: Literal["good"] | None = None,
    length: int = 256,
    count: int = 20_000,
    noise: float = 2.0,
    wander: float = 2.0,
    photoelectrons: float = 8.0,
    rate: float = 50.0,
    anomalies: float = 0.05,
    bits: int | None = 12,
    seed: int = 0,
):
    """Pulses of a scintillator, NaI(Tl) at a photomultiplier, in mV; labels tell good ones from five kinds of others.

    only: good leaves out pile-up and anomalies, in both splits
    length: samples of a pulse, 10 ns each
    count: pulses to train on; a fifth as many to test
    noise: standard deviation of the electronic noise in mV
    wander: amplitude of the slow wander of the baseline in mV; 0 keeps the baseline at 0
    photoelectrons: for each keV; 0 gives the mean pulse, without shot noise
    rate: pulses in 1000/s, by which some pile up
    anomalies: share of each kind of anomaly
    bits: of the converter, whose 1000 mV begin at -100 mV; none leaves voltages as they are
    seed: of everything random
    """
    from .scintillator import Pulses

    return Pulses(only == "good", length, count, noise, wander, photoelectrons, rate, anomalies, bits, seed)


def showers(
    *,
    only: Literal["electron", "pion"] | None = None,
    size: tuple[int, ...] = (12, 12, 12),
    count: int = 10_000,
    lowest: float = 5.0,
    highest: float = 100.0,
    sampling: float = 0.2,
    noise: float = 0.002,
    scale: Literal["log", "gev"] = "log",
    seed: int = 0,
):
    """Showers of electrons (label 0) and pions (1) in a calorimeter of iron, one value for each cell.

    only: one kind of particle
    size: cells in depth, height and width, as 12/12/12; each is 2 radiation lengths deep and 1 Moliere radius wide
    count: showers to train on; a fifth as many to test
    lowest: energy in GeV of the weakest particles
    highest: energy in GeV of the strongest; logarithms of energies are uniform
    sampling: relative resolution at 1 GeV, by which deposits fluctuate
    noise: standard deviation in GeV of the noise of a cell; cells below three of them read 0
    scale: log is log10(1 + E / MeV) of each deposit E, gev is E in GeV
    seed: of everything random
    """
    from .calorimeter import Showers

    return Showers(only, size, count, (lowest, highest), sampling, noise, scale == "log", seed)


def electronic(*, sigma: float = 0.1, corner: float = 0.02):
    """Noise of an amplifier along the last axis: white, and 1/f below a corner frequency.

    sigma: standard deviation, in the unit of the values: mV of pulses
    corner: frequency, in cycles per sample, at which both parts are equal; 0 is white noise
    """
    from .noise import electronic as corruption

    return corruption(sigma, corner)
