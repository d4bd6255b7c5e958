"""Codes to fit densities to, and fitted densities that the checks share. Only the kit imports this file."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from aepipe.plugins.kinds import LATENTS

from .factories import first_accepted
from .modules import make_module, seeded
from .pairs import example
from .report import Subject

SCALES = torch.tensor([2.0, 0.5, 1.0, 1.5] * 2)
CENTRE = torch.tensor([1.0, -2.0, 0.5, 0.0] * 2)


def correlated_codes(latent: int, count: int = 2000) -> Tensor:
    """Codes [count, latent] of a Gaussian with unequal variances and with correlations."""
    mixing = torch.diag(SCALES[:latent]) + torch.ones(latent, latent).tril(-1) * 0.4
    return example(count, latent) @ mixing.T + CENTRE[:latent]


def two_clusters(latent: int) -> Tensor:
    """Codes [1500, latent] in two overlapping clusters."""
    codes = 0.7 * example(1500, latent)
    codes[::2] += 2.0
    return codes


def usual_latent(subject: Subject) -> int:
    """The first of the latent sizes 3, 4 and 8 that the factory accepts."""
    return first_accepted(subject, "latent", LATENTS, lambda latent: make_module(subject, latent))


def fit(subject: Subject, codes: Tensor, seed: int = 0) -> Any:
    """A density fitted as aepipe fits it: seeded, then frozen and in evaluation mode."""
    density = make_module(subject, codes.shape[1], seed=seed)
    with seeded(seed):
        density.fit(codes.clone())
    return density.eval().requires_grad_(False)


def fitted(subject: Subject) -> Any:
    """The density that most checks share, fitted to `correlated_codes`."""
    return subject.once("fitted", lambda: fit(subject, correlated_codes(usual_latent(subject))))


def noise_for(density: Any, count: int, seed: int = 1) -> Tensor:
    """Standard-normal numbers [count, k] for `sample`."""
    return example(count, density.noise_features, seed=seed)


def draw(density: Any, count: int) -> Tensor:
    """Samples [count, latent]."""
    return density.sample(noise_for(density, count)).float()


def outputs(density: Any, codes: Tensor) -> list[Tensor]:
    """The results of sample, log_prob and, if the density has it, noise."""
    values = [density.sample(noise_for(density, len(codes))), density.log_prob(codes.clone())]
    return [*values, density.noise(codes.clone())] if hasattr(density, "noise") else values
