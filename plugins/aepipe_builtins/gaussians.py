"""The modules of the built-in densities. Only their factories import this file, so it may import torch."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def _floored(variance: Tensor) -> Tensor:
    """The variances, each at least a millionth of the largest, so that a density stays finite where codes do not vary."""
    return variance.clamp(min=max(1e-6 * float(variance.max()), 1e-12))


def _standard_log_prob(noise: Tensor) -> Tensor:
    return -0.5 * (noise.square() + math.log(2 * math.pi)).sum(1)


class DiagonalGaussian(nn.Module):
    """N(m, diag(s²)), fitted by maximum likelihood."""

    def __init__(self, latent: int):
        super().__init__()
        self.noise_features = latent
        self.register_buffer("mean", torch.zeros(latent))
        self.register_buffer("std", torch.ones(latent))

    def fit(self, codes: Tensor) -> None:
        codes = codes.double()
        self.mean.copy_(codes.mean(0))
        self.std.copy_(_floored(codes.var(0, correction=0)).sqrt())

    def sample(self, noise: Tensor) -> Tensor:
        return self.mean + self.std * noise

    def noise(self, codes: Tensor) -> Tensor:
        return (codes - self.mean) / self.std

    def log_prob(self, codes: Tensor) -> Tensor:
        return _standard_log_prob(self.noise(codes)) - self.std.log().sum()


class PrincipalGaussian(nn.Module):
    """N(m, A·diag(s²)·Aᵀ) with principal axes A; the variances after the first `components` are replaced by their mean."""

    def __init__(self, latent: int, components: int | None):
        super().__init__()
        if components is not None and not 0 <= components <= latent:
            raise ValueError(f"components={components} must lie between 0 and the latent size {latent}")
        self.noise_features = latent
        self.components = latent if components is None else components
        self.register_buffer("mean", torch.zeros(latent))
        self.register_buffer("axes", torch.eye(latent))
        self.register_buffer("std", torch.ones(latent))

    def fit(self, codes: Tensor) -> None:
        codes = codes.double()
        mean = codes.mean(0)
        covariance = (codes - mean).T @ (codes - mean) / len(codes)
        variances, axes = torch.linalg.eigh(covariance)
        variances, axes = variances.flip(0), axes.flip(1)
        if self.components < len(variances):
            variances[self.components :] = variances[self.components :].mean()
        self.mean.copy_(mean)
        self.axes.copy_(axes)
        self.std.copy_(_floored(variances).sqrt())

    def sample(self, noise: Tensor) -> Tensor:
        return self.mean + (noise * self.std) @ self.axes.T

    def noise(self, codes: Tensor) -> Tensor:
        return ((codes - self.mean) @ self.axes) / self.std

    def log_prob(self, codes: Tensor) -> Tensor:
        return _standard_log_prob(self.noise(codes)) - self.std.log().sum()
