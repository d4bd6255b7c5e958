"""Checks of densities as distributions: sample and log_prob must belong to one distribution, which fits the codes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .fitting import correlated_codes, draw, fit, fitted, two_clusters, usual_latent
from .modules import require_close
from .pairs import example
from .report import NotApplicable, Refused, Subject, require

DRAWS = 20_000
# In standard deviations. They allow for the sampling error, and for densities that are fitted by gradient.
MEAN_TOLERANCE, SPREAD_TOLERANCE = 0.1, 0.1
# The grid reaches REACH standard deviations to each side and has CELLS cells per direction. Masses are compared in BINS bins.
REACH, CELLS, BINS = 9.0, 360, 10
WRONG_LOG_PROB = "check the normalising constant and the log-determinant of log_prob against sample"


@torch.no_grad()
def has_the_right_moments(subject: Subject) -> None:
    """Samples have the mean and the variances of the codes, and no correlation that the codes do not have."""
    codes = correlated_codes(usual_latent(subject))
    density = fitted(subject)
    drawn = draw(density, DRAWS)
    std = codes.std(0)
    shift = float(((drawn.mean(0) - codes.mean(0)) / std).abs().max())
    require(
        shift <= MEAN_TOLERANCE,
        f"the mean of its samples is {shift:.2f} standard deviations from that of the codes",
        "fit the mean and add it in sample",
    )
    spread = drawn.std(0) / std
    worst = float(spread[(spread.log()).abs().argmax()])
    require(
        abs(worst - 1) <= SPREAD_TOLERANCE,
        f"in one direction the samples' standard deviation is {worst:.2f} times that of the codes",
        "check that sample scales by standard deviations, not variances, and applies axes as fit found them",
    )
    ours, theirs = torch.corrcoef(drawn.T), torch.corrcoef(codes.T)
    # A simple density may leave out a correlation, wholly or in part. No density may reverse one or invent one.
    excess = torch.maximum(ours * theirs.sign() - theirs.abs(), -ours * theirs.sign())
    require(
        float(excess.max()) <= 0.1,
        f"its samples have correlations {_upper(ours)}, the codes {_upper(theirs)}",
        "check the order and the transposition of axes in sample",
    )


def _upper(matrix: Tensor) -> list[float]:
    rows, columns = torch.triu_indices(*matrix.shape, 1)
    return [round(float(value), 2) for value in matrix[rows, columns]]


@torch.no_grad()
def samples_what_it_scores(subject: Subject) -> None:
    """`sample` and `log_prob` belong to the same distribution: shown on a grid in 1 and 2 dimensions, by weights in 3."""
    _require_density(fitted(subject))
    _weigh(fitted(subject), subject)
    for latent, density in _small(subject):
        points, cell = _grid(density, latent)
        mass = _mass(density, points, cell)
        drawn = draw(density, DRAWS)
        centre, std = drawn.mean(0), drawn.std(0)
        expected = torch.zeros(BINS**latent).index_add_(0, _bins(points, centre, std), mass)
        seen = torch.bincount(_bins(drawn, centre, std), minlength=BINS**latent) / DRAWS
        apart = 0.5 * float((expected - seen).abs().sum())
        require(
            apart <= 0.08,
            f"in {latent} dimension(s) log_prob puts {apart:.0%} of its mass elsewhere than sample",
            WRONG_LOG_PROB,
        )


def _require_density(density: Any) -> None:
    if density.log_prob is None or density.discrete:
        raise NotApplicable("it gives no log-densities")


def _weigh(density: Any, subject: Subject) -> None:
    """Check two means that are 1 for every p and q: of q/p over samples of p, and of p/q over samples of q.

    p is the density, and q is a Gaussian: a narrower one for the first mean, a broader one for the second.
    """
    drawn = draw(density, DRAWS)
    centre, root = drawn.mean(0), torch.linalg.cholesky(torch.cov(drawn.T))
    for how, spread in (("narrower", 0.6), ("broader", 1.4)):
        reference = torch.distributions.MultivariateNormal(centre, scale_tril=spread * root)
        if spread < 1:
            weights = reference.log_prob(drawn) - density.log_prob(drawn)
        else:
            points = centre + example(DRAWS, usual_latent(subject), seed=2) @ (spread * root).T
            weights = density.log_prob(points) - reference.log_prob(points)
        mean = float(weights.double().exp().mean())
        require(
            0.85 <= mean <= 1.15,
            f"weighed against a {how} Gaussian, sample and log_prob disagree by a factor of {mean:.3g}",
            WRONG_LOG_PROB,
        )


@torch.no_grad()
def integrates_to_one(subject: Subject) -> None:
    """exp(log_prob) integrates to one over a grid in one and in two dimensions, within 1 %."""
    checked = False
    _require_density(fitted(subject))
    for latent, density in _small(subject):
        total = float(_mass(density, *_grid(density, latent)).sum())
        require(
            abs(total - 1) <= 0.01,
            f"in {latent} dimension(s) exp(log_prob) integrates to {total:.4g}",
            "add the normalising constant, -0.5 log(2 pi) a dimension for a Gaussian, and the log-determinant of each step",
        )
        checked = True
    if not checked:
        raise NotApplicable("it refuses one and two dimensions")


def _small(subject: Subject) -> list[tuple[int, Any]]:
    """The density, fitted to two clusters in one and in two dimensions, if it accepts these sizes."""

    def make() -> list[tuple[int, Any]]:
        found = []
        for latent in (1, 2):
            try:
                found.append((latent, fit(subject, two_clusters(latent))))
            except Refused:
                continue
        return found

    return subject.once("small", make)


def _grid(density: Any, latent: int) -> tuple[Tensor, float]:
    """The centres [n, latent] of the grid's cells around the samples, and the volume of a cell."""
    drawn = draw(density, 2000)
    half = REACH * drawn.std(0)
    steps = (torch.arange(CELLS) + 0.5) / CELLS * 2 - 1
    axes = [centre + reach * steps for centre, reach in zip(drawn.mean(0), half, strict=True)]
    return torch.cartesian_prod(*axes).reshape(-1, latent), float((2 * half / CELLS).prod())


def _mass(density: Any, points: Tensor, cell: float) -> Tensor:
    log_prob = torch.cat([density.log_prob(part) for part in points.split(50_000)])
    return (log_prob.double().exp() * cell).float()


def _bins(points: Tensor, centre: Tensor, std: Tensor) -> Tensor:
    """The bin of each point. A direction has BINS bins over six standard deviations; the outer bins are open."""
    index = ((points - centre) / (6 * std) * BINS + BINS / 2).floor().clamp(0, BINS - 1).long()
    return (index * BINS ** torch.arange(points.shape[1])).sum(1)


@torch.no_grad()
def inverts_its_samples(subject: Subject) -> None:
    """`noise`, if the density has it, is the inverse: sample(noise(codes)) is codes, and samples give standard normal noise."""
    density = fitted(subject)
    if density.noise is None:
        raise NotApplicable("it has no noise")
    codes = correlated_codes(usual_latent(subject), 500)
    change = "noise is the inverse of sample, step by step in the opposite order; without an inverse, leave it out"
    require_close(density.sample(density.noise(codes)), codes, 1e-3, "sample(noise(codes)) is not codes", change)
    noise = density.noise(draw(density, DRAWS))
    shift, spread = noise.mean(0).abs().max(), (noise.std(0) - 1).abs().max()
    require(
        max(float(shift), float(spread)) <= 0.05,
        f"the noise of its samples is not standard normal: a mean is off by {shift:.2f}, a standard deviation by {spread:.2f}",
        change,
    )
