"""Pulses of a NaI(Tl) scintillator at a photomultiplier, beside a source of caesium 137, as a digitiser records them.

Sources: Knoll, Radiation Detection and Measurement (4th edition, 2010), called Knoll here; Evans, The Atomic Nucleus (1955). What
has no source here is an assumption of a usual instrument.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .noise import noise_like

KINDS = ("good", "pile-up", "saturated", "burst", "dropout", "direct")  # by label
GOOD, PILE_UP, SATURATED, BURST, DROPOUT, DIRECT = range(len(KINDS))

SAMPLE = 10.0  # ns, of a digitiser of 100 MS/s
DECAY = 230.0  # ns, of the light of NaI(Tl) (Knoll, table 8.3)
RISE = 40.0  # ns, time constant of the amplifier
DECAY_SPREAD, RISE_SPREAD = 0.05, 0.15  # relative standard deviations between pulses
LOW, HIGH = -100.0, 900.0  # mV, between which the converter works
GAIN = 0.6  # mV of the peak for each keV
GAMMA, REST = 661.7, 511.0  # keV: the line of caesium 137, and the electron's rest energy
PEAK_SHARE = 0.4  # of the gamma rays that leave all of their energy
THRESHOLD = 30.0  # keV, below which nothing triggers
INTRINSIC = 0.026  # with shot noise about 7 % full width at half maximum at 662 keV (Knoll, section 10.4)
MUON = 25_000.0  # keV, of a muon in 5 cm of NaI: 4.8 MeV/cm (Particle Data Group, atomic and nuclear properties)
BEFORE = 0.2  # share of the samples that precede the pulse
CORNER = 0.02  # cycles per sample, so 2 MHz: where 1/f noise equals white noise
PEDESTAL = 3.0  # mV, standard deviation of the baseline between pulses


@dataclass(frozen=True)
class Truth:
    """What happened: label, energy [keV], time [ns] and light [ns] of each pulse, and those that follow it."""

    label: np.ndarray
    energy: np.ndarray
    start: np.ndarray
    decay: np.ndarray
    rise: np.ndarray
    late: np.ndarray  # rows of the followers, which may repeat
    late_energy: np.ndarray
    late_start: np.ndarray


@dataclass(frozen=True)
class Pulses:
    """The data set: float32 [N, 1, length] in mV. Raises ValueError for options that make no sense."""

    only_good: bool
    length: int
    count: int
    noise: float
    wander: float
    photoelectrons: float
    rate: float
    anomalies: float
    bits: int | None
    seed: int

    range = "none"

    def __post_init__(self):
        if self.length < 16:
            raise ValueError(f"length is at least 16, not {self.length}")
        if self.count < 5:
            raise ValueError(f"count is at least 5, not {self.count}")
        for name in ("noise", "wander", "photoelectrons", "rate", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, not {getattr(self, name)}")
        if not 0 <= self.anomalies <= 0.2:
            raise ValueError(f"anomalies is from 0 to 0.2, for each of four kinds, not {self.anomalies}")
        if self.bits is not None and not 4 <= self.bits <= 24:
            raise ValueError(f"bits is none or from 4 to 24, not {self.bits}")

    def load(self, split: str) -> np.ndarray:
        """The pulses of a split, "train" or "test"; raises ValueError for another."""
        truth, rng = self.truth(split), self._rng(split, 1)
        volts = self._light(truth, rng)
        time = SAMPLE * np.arange(self.length, dtype=np.float32)
        rows = np.flatnonzero(truth.label == BURST)
        volts[rows] += _bursts(len(rows), time, rng)
        volts += self._baseline(len(volts), time, rng)
        volts += self.noise * noise_like(volts.shape, CORNER, rng)
        for row in np.flatnonzero(truth.label == DROPOUT):
            first = int(self.length * BEFORE) + rng.integers(self.length // 8 + 1)
            volts[row, first : first + rng.integers(self.length // 16, self.length // 4)] = volts[row, first]
        return self._converted(volts)[:, None].astype(np.float32)

    def labels(self, split: str) -> np.ndarray:
        """The places of the pulses in KINDS."""
        return self.truth(split).label

    def truth(self, split: str) -> Truth:
        """What happened in a split, before light and noise fluctuate."""
        rng = self._rng(split, 0)
        count = self.count if split == "train" else max(self.count // 5, 1)
        start = SAMPLE * (BEFORE * self.length + rng.uniform(0, 1, count) + rng.normal(0, 1, count))
        energy = spectrum(count, rng)
        decay = DECAY * (1 + DECAY_SPREAD * rng.standard_normal(count)).clip(0.5, 2)
        rise = RISE * (1 + RISE_SPREAD * rng.standard_normal(count)).clip(0.5, 2)
        # Further pulses come at random within the window (Poisson). Earlier ones would have begun a window of their own.
        left = SAMPLE * self.length - start
        late = np.repeat(np.arange(count), rng.poisson(left * self.rate * 1e-6))
        late_start = start[late] + rng.uniform(0, 1, len(late)) * left[late]
        late_energy = spectrum(len(late), rng)
        label = rng.choice(
            [GOOD, SATURATED, BURST, DROPOUT, DIRECT], count, p=[1 - 4 * self.anomalies, *[self.anomalies] * 4]
        )
        if self.only_good:
            label[:], late = GOOD, late[:0]
        kept = label[late] == GOOD  # one thing goes wrong at a time
        late, late_energy, late_start = late[kept], late_energy[: len(late)][kept], late_start[: len(late)][kept]
        label[late] = PILE_UP
        full = (HIGH - LOW) / GAIN
        energy = np.where(label == SATURATED, np.exp(rng.uniform(np.log(1.3 * full), np.log(MUON), count)), energy)
        direct = label == DIRECT  # light of the photomultiplier's window (Cherenkov), which does not last
        energy = np.where(direct, rng.uniform(THRESHOLD, 150, count), energy)
        return Truth(label, energy, start, np.where(direct, 1.0, decay), rise, late, late_energy, late_start)

    def _rng(self, split: str, part: int) -> np.random.Generator:
        if split not in ("train", "test"):
            raise ValueError(f"the splits are train and test, not {split!r}")
        return np.random.default_rng([self.seed, split == "test", part])

    def _light(self, truth: Truth, rng: np.random.Generator) -> np.ndarray:
        """Voltages [N, length]: photoelectrons, which come by chance, through an amplifier with one time constant."""
        edges = SAMPLE * np.arange(-1, self.length)
        per_keV = self.photoelectrons or 1.0
        mean = per_keV * _arriving(truth.energy, truth.start, truth.decay, edges)
        np.add.at(
            mean, truth.late, per_keV * _arriving(truth.late_energy, truth.late_start, truth.decay[truth.late], edges)
        )
        light = rng.poisson(mean) if self.photoelectrons else mean
        kept = np.exp(-SAMPLE / truth.rise)
        volts, level = np.empty(light.shape, np.float32), np.zeros(len(light))
        scale = GAIN / (per_keV * SAMPLE * peak(DECAY, RISE))
        for column in range(self.length):
            level = kept * level + (1 - kept) * light[:, column]
            volts[:, column] = scale * level
        return volts

    def _baseline(self, count: int, time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Where the baseline stands, and the ripple of a switching supply of 0.1 to 0.5 MHz."""
        if not self.wander:
            return np.zeros((count, 1), np.float32)
        cycles, phase = rng.uniform(1e-4, 5e-4, (count, 1)), rng.uniform(0, 2 * np.pi, (count, 1))
        height = self.wander * rng.rayleigh(2**-0.5, (count, 1))
        return PEDESTAL * rng.standard_normal((count, 1)) + height * np.sin(2 * np.pi * cycles * time + phase)

    def _converted(self, volts: np.ndarray) -> np.ndarray:
        """What the converter reads: whole steps within its range."""
        volts = volts.clip(LOW, HIGH)
        if self.bits is None:
            return volts
        step = (HIGH - LOW) / (2**self.bits - 1)
        return LOW + step * np.rint((volts - LOW) / step)


def spectrum(count: int, rng: np.random.Generator) -> np.ndarray:
    """Energies [keV] that gamma rays of 662 keV leave in a crystal: all, or that of one Compton electron.

    Compton electrons follow Klein and Nishina (Evans, chapter 23, equation 5.2; Knoll, section 10.1): up to the edge at 477 keV.
    """
    alpha = GAMMA / REST
    grid = np.linspace(THRESHOLD, compton_edge(), 2048)
    share = grid / GAMMA
    cross = 2 + share**2 / (alpha**2 * (1 - share) ** 2) + share / (1 - share) * (share - 2 / alpha)
    summed = np.r_[0, np.cumsum((cross[1:] + cross[:-1]) / 2)]
    electron = np.interp(rng.uniform(0, summed[-1], count), summed, grid)
    energy = np.where(rng.uniform(0, 1, count) < PEAK_SHARE, GAMMA, electron)
    return energy * (1 + INTRINSIC * rng.standard_normal(count))


def compton_edge() -> float:
    """The largest energy [keV] that one scattering leaves."""
    alpha = GAMMA / REST
    return GAMMA * 2 * alpha / (1 + 2 * alpha)


def peak(decay: float, rise: float) -> float:
    """The height [1/ns] of a pulse of area 1, (exp(-t/decay) - exp(-t/rise)) / (decay - rise)."""
    return (rise / decay) ** (rise / (decay - rise)) / decay


def _arriving(energy: np.ndarray, start: np.ndarray, decay: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The light [keV] of each pulse between neighbouring edges [ns]."""
    since = np.maximum(edges - start[:, None], 0)
    return energy[:, None] * -np.diff(np.exp(-since / decay[:, None]))


def _bursts(count: int, time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Interference that rings and dies away: 2 to 15 MHz, 30 to 150 mV, 0.2 to 0.6 µs."""
    cycles, height, lasting, phase, begin = (
        rng.uniform(low, high, (count, 1))
        for low, high in ((2e-3, 15e-3), (30, 150), (200, 600), (0, 2 * np.pi), (0, 0.8 * time[-1]))
    )
    since = time - begin
    return np.where(
        since < 0, 0, height * np.exp(-np.maximum(since, 0) / lasting) * np.sin(2 * np.pi * cycles * since + phase)
    )
