"""Showers of electrons and pions in a calorimeter of iron, by parametrisations of their mean profiles and fluctuations.

Sources: Longo and Sestili, Nucl. Instrum. Methods 128 (1975) 283; Grindhammer and Peters, hep-ex/0001020 (constants as in Geant4's
GFlash); Bock, Hansl-Kramer and Shah, Nucl. Instrum. Methods 186 (1981) 533; Gabriel, Groom et al., Nucl. Instrum. Methods A 338
(1994) 336; Particle Data Group, atomic and nuclear properties of iron. What has no source here is an assumption.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

KINDS = ("electron", "pion")  # by label

# Iron (Particle Data Group): charge, radiation length, interaction length and Moliere radius [cm], critical energy [GeV],
# least loss of energy [GeV/cm].
Z, X0, INTERACTION, MOLIERE, CRITICAL, LEAST_LOSS = 26, 1.757, 16.77, 1.719, 0.02168, 0.01143

LAYER = 2 * X0  # cm
CELL = MOLIERE  # cm, width and height of a cell
HALO = 0.35 * INTERACTION / MOLIERE  # Moliere radii, within which half of the energy of hadrons lies
JITTER = 1.0  # cells to each side of the middle, where particles enter
PI0_SPREAD = 0.15  # standard deviation of the share that becomes neutral pions
MILLI = 1000.0  # MeV in a GeV
NOTHING = 1e-6  # GeV, below which no deposit is drawn
WEAKEST = 1.0  # GeV, the lowest energy for which the parametrisations are used
PART = 500  # showers at a time, which take 100 MB


@dataclass(frozen=True)
class Truth:
    """What happened: label, incident energy [GeV], place of entry (y, x) [cells from the middle]."""

    label: np.ndarray
    energy: np.ndarray
    entry: np.ndarray


@dataclass(frozen=True)
class Showers:
    """The data set: float32 [N, 1, D, H, W]. Raises ValueError for options that make no sense."""

    only: str | None
    size: tuple[int, ...]
    count: int
    energies: tuple[float, float]
    sampling: float
    noise: float
    log: bool
    seed: int

    def __post_init__(self):
        if len(self.size) != 3 or min(self.size) < 1:
            raise ValueError(f"size is depth, height and width in cells, as 12/12/12, not {self.size}")
        if self.count < 5:
            raise ValueError(f"count is at least 5, not {self.count}")
        if not WEAKEST <= self.energies[0] < self.energies[1] <= 1000:
            raise ValueError(f"lowest is at least {WEAKEST:g} and below highest, which is at most 1000")
        for name in ("sampling", "noise", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, not {getattr(self, name)}")

    @property
    def range(self):
        """Logarithms end at that of twice the highest energy, which no cell reaches; energies have no end."""
        return (0.0, float(np.log10(1 + 2 * MILLI * self.energies[1]))) if self.log else "none"

    def load(self, split: str) -> np.ndarray:
        """The showers of a split, "train" or "test"; raises ValueError for another."""
        truth, rng = self.truth(split), self._rng(split, 1)
        made = np.empty((len(truth.label), 1, *self.size), np.float32)
        for first in range(0, len(made), PART):
            part = slice(first, first + PART)
            deposits = mean_deposits(truth.label[part], truth.energy[part], truth.entry[part], self.size, rng)
            made[part, 0] = self._read(deposits, rng)
        return np.log10(1 + MILLI * made) if self.log else made

    def labels(self, split: str) -> np.ndarray:
        """The places of the particles in KINDS."""
        return self.truth(split).label

    def truth(self, split: str) -> Truth:
        """The particles of a split."""
        rng = self._rng(split, 0)
        count = self.count if split == "train" else max(self.count // 5, 1)
        energy = np.exp(rng.uniform(*np.log(self.energies), count))
        entry = rng.uniform(-JITTER, JITTER, (count, 2))
        label = rng.integers(len(KINDS), size=count)
        if self.only is not None:
            label[:] = KINDS.index(self.only)
        return Truth(label, energy, entry)

    def _rng(self, split: str, part: int) -> np.random.Generator:
        if split not in ("train", "test"):
            raise ValueError(f"the splits are train and test, not {split!r}")
        return np.random.default_rng([self.seed, split == "test", part])

    def _read(self, deposits: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """What cells read: deposits that fluctuate as their particles are counted, noise, and 0 below three times the noise.

        The variance of a deposit is sampling² GeV times its mean, so that the sum has a relative resolution of sampling / √E.
        """
        quantum = self.sampling**2
        deposits = np.where(deposits > NOTHING, deposits, 0)
        seen = quantum * rng.standard_gamma(deposits / quantum) if quantum else deposits
        seen = seen + self.noise * rng.standard_normal(seen.shape)
        return np.where(seen > 3 * self.noise, seen, 0)


def mean_deposits(
    label: np.ndarray, energy: np.ndarray, entry: np.ndarray, size: tuple[int, ...], rng: np.random.Generator
) -> np.ndarray:
    """Energies [GeV] in the cells [N, D, H, W], whose shape fluctuates from shower to shower; what leaves the cells is lost.

    A pion loses energy as a least ionising particle until it interacts, after an exponential depth. Then a share of neutral
    pions makes an electromagnetic shower, the rest a hadronic one.
    """
    pion = (label == 1)[:, None]
    begin = np.where(pion[:, 0], rng.exponential(INTERACTION, len(label)), 0)  # cm
    edges = LAYER * np.arange(size[0] + 1)
    track = np.where(pion, LEAST_LOSS * np.diff(np.minimum(edges, begin[:, None])), 0)
    track = np.minimum(track, energy[:, None] / size[0])
    left = energy - track.sum(1)
    share = np.where(pion[:, 0], _pi0_share(energy, rng), 1)
    since = np.maximum(edges - begin[:, None], 0)
    alpha, depth = _fluctuating_shape(share * left, rng)
    layers = (share * left)[:, None] * _gamma_layers(alpha, (alpha - 1) / depth, since / X0)
    core, tail, weight = _radii(share * left, (since[:, 1:] + since[:, :-1]) / 2 / X0 / depth[:, None])
    narrow = disc_in_cells(core, entry, size)
    wide = disc_in_cells(tail, entry, size)
    weight = weight[..., None, None]
    made = layers[..., None, None] * (weight * narrow + (1 - weight) * wide)
    made += track[..., None, None] * disc_in_cells(np.full((len(track), 1), 0.0), entry, size)
    if pion.any():
        rows = np.flatnonzero(pion)
        log = np.log(energy[rows])
        hadrons = _gamma_layers(0.6165 + 0.3183 * log, 0.9099 - 0.0237 * log, since[rows] / INTERACTION)
        hadrons *= ((1 - share) * left)[rows, None]
        made[rows] += hadrons[..., None, None] * disc_in_cells(np.full((len(rows), 1), HALO), entry[rows], size)
    return made


def _gamma_layers(alpha: np.ndarray, beta: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The share [N, D] between neighbouring edges [N, D + 1] of dE/dt ~ (βt)^(α-1) exp(-βt) (Longo and Sestili, 1975)."""
    from scipy.special import gammainc

    return np.diff(gammainc(alpha[:, None], beta[:, None] * edges))


def _fluctuating_shape(energy: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """α and the depth of the maximum [X0] of each electromagnetic shower: log-normal and correlated (Grindhammer and Peters)."""
    log = np.log(np.maximum(energy, WEAKEST) / CRITICAL)
    both, apart = np.sqrt((1 + 0.705 - 0.023 * log) / 2), np.sqrt((1 - 0.705 + 0.023 * log) / 2)
    first, second = rng.standard_normal((2, len(log)))
    depth = np.exp(np.log(log - 0.812) + (both * first + apart * second) / (-1.4 + 1.26 * log))
    alpha = np.exp(np.log(0.81 + (0.458 + 2.26 / Z) * log) + (both * first - apart * second) / (-0.58 + 0.86 * log))
    return np.maximum(alpha, 1.1), depth


def _radii(energy: np.ndarray, stage: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Radii [Moliere radii] of core and tail and the weight of the core (Grindhammer and Peters).

    They depend on the energy [N] and on the depth by that of the maximum [N, D].
    """
    log = np.log(np.maximum(energy, WEAKEST))[:, None]
    stage = np.minimum(stage, 5)  # beyond it there is hardly any energy, and the exponential grows without end
    core = 0.0251 + 0.00319 * log + (0.1162 - 0.000381 * Z) * stage
    tail = (0.659 - 0.00309 * Z) * (np.exp(-2.59 * (stage - 0.645)) + np.exp((0.3585 + 0.0412 * log) * (stage - 0.645)))
    late = (0.401 + 0.00187 * Z - stage) / (1.313 - 0.0686 * log)
    return core, tail, np.clip((2.632 - 0.00094 * Z) * np.exp(late - np.exp(late)), 0, 1)


def _pi0_share(energy: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The share of a pion's energy that becomes electromagnetic: about 1 - (E / 0.7 GeV)^-0.18 (Gabriel et al., 1994)."""
    mean = np.clip(1 - (energy / 0.7) ** -0.18, 0.05, 0.95)
    both = np.maximum(mean * (1 - mean) / PI0_SPREAD**2 - 1, 0.5)
    return rng.beta(mean * both, (1 - mean) * both)


def disc_in_cells(radius: np.ndarray, entry: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """The shares [N, D, H, W] that fall into cells, of the density R² / (π (r² + R²)²) about the place of entry.

    `radius` R [N, D] is in Moliere radii, and half of all lies within it. The integral over a rectangle has a closed form.
    """
    _, height, width = size
    y, x = (
        (np.arange(side + 1) - side / 2 - entry[:, axis, None])[:, None] * (CELL / MOLIERE)
        for axis, side in enumerate((height, width))
    )
    squared = np.maximum(radius, 1e-3)[..., None] ** 2
    x, y, squared = (each.astype(np.float32) for each in (x, y, squared))
    root_x, root_y = (np.sqrt(each**2 + squared) for each in (x, y))
    by_x, by_y = x / root_x, y / root_y
    corner = by_x[..., None, :] * np.arctan(y[..., :, None] / root_x[..., None, :])
    corner += by_y[..., :, None] * np.arctan(x[..., None, :] / root_y[..., :, None])
    return np.diff(np.diff(corner, axis=2), axis=3) / (2 * np.pi)
