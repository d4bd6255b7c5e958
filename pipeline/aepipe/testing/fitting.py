"""Codes to fit densities to, and fitted densities that the checks share. Only the kit imports this file."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from aepipe.plugins.calling import call, takes
from aepipe.plugins.kinds import CLASSES, LATENTS
from aepipe.workshop.export.densities import GIVEN, Method, offers, run_method

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


def labels_in_turn(count: int) -> Tensor:
    """Labels [count] that have nothing to do with the codes: given one of them, a density is that of all codes."""
    return torch.arange(count) % CLASSES


class Told(nn.Module):
    """A density as the checks see it: where a method names `label`, it is told the class 1."""

    def __init__(self, density: Any):
        super().__init__()
        self.density = density
        self.log_prob = self._log_prob if offers(density, "log_prob") else None
        self.noise = self._noise if offers(density, "noise") else None

    @property
    def noise_features(self) -> Any:
        return getattr(self.density, "noise_features", None)

    @property
    def discrete(self) -> bool:
        """Whether log_prob gives probabilities."""
        return bool(getattr(self.density, "discrete", False))

    def fit(self, codes: Tensor, labels: Tensor | None = None) -> None:
        told = labels_in_turn(len(codes)) if labels is None else labels
        call(self.density.fit, {"codes": codes}, also={"labels": told})

    def given(self, method: Method, values: Tensor, label: Tensor) -> Tensor:
        """What a method gives for labels [n]."""
        return run_method(
            self.density, method, values, label if takes(getattr(self.density, method), "label") else None
        )

    def sample(self, noise: Tensor) -> Tensor:
        return self.given("sample", noise, torch.ones(len(noise), dtype=torch.int64))

    def _log_prob(self, codes: Tensor) -> Tensor:
        return self.given("log_prob", codes, torch.ones(len(codes), dtype=torch.int64))

    def _noise(self, codes: Tensor) -> Tensor:
        return self.given("noise", codes, torch.ones(len(codes), dtype=torch.int64))


def told(density: Any) -> list[Method]:
    """The methods of a density that name `label`."""
    return [method for method in GIVEN if offers(density, method) and takes(getattr(density, method), "label")]


def made(subject: Subject, latent: int, seed: int = 0) -> Told:
    """A density that is not fitted."""
    return Told(make_module(subject, latent, seed=seed))


def usual_latent(subject: Subject) -> int:
    """The first of the latent sizes 3, 4 and 8 that the factory accepts."""
    return first_accepted(subject, "latent", LATENTS, lambda latent: make_module(subject, latent))


def fit(subject: Subject, codes: Tensor, seed: int = 0, labels: Tensor | None = None) -> Any:
    """A density fitted as aepipe fits it: seeded, then frozen and in evaluation mode."""
    density = made(subject, codes.shape[1], seed)
    with seeded(seed):
        density.fit(codes.clone(), labels)
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
    """The results of sample and, where the density has them, of log_prob and noise."""
    further = [each for each in (density.log_prob, density.noise) if each is not None]
    return [density.sample(noise_for(density, len(codes))), *(each(codes.clone()) for each in further)]
