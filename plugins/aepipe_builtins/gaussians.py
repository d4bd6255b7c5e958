"""The modules of the built-in densities. Only their factories import this file, so it may import torch."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .memory import require_memory

BYTES = 48  # that pca needs at most for each entry of the covariance: it, the eigenvectors, and LAPACK's room for both


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
        require_memory(BYTES * latent**2, f"a covariance of {latent:,} numbers", "take gaussian")
        self.noise_features = latent
        self.components = latent if components is None else components
        self.register_buffer("mean", torch.zeros(latent))
        self.register_buffer("axes", torch.eye(latent))
        self.register_buffer("std", torch.ones(latent))

    def fit(self, codes: Tensor) -> None:
        codes = codes.double()
        mean = codes.mean(0)
        variances, axes = _principal(codes - mean)
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


def _principal(centred: Tensor) -> tuple[Tensor, Tensor]:
    """Variances [d], falling, and axes [d, d] of centred codes [N, d].

    Fewer codes than numbers span N directions at most. Then the eigenvectors are sought among these alone, of a matrix [N, N],
    and the other axes are any that complete them, with no variance: for d³ operations that is much less work.
    """
    count, latent = centred.shape
    if count >= latent:
        variances, axes = torch.linalg.eigh(centred.T @ centred / count)
        return variances.flip(0), axes.flip(1)
    basis, within = torch.linalg.qr(centred.T, mode="complete")
    variances, axes = torch.linalg.eigh(within[:count] @ within[:count].T / count)
    spanned = basis[:, :count] @ axes.flip(1)
    zeros = torch.zeros(latent - count, dtype=centred.dtype)
    return torch.cat([variances.flip(0), zeros]), torch.cat([spanned, basis[:, count:]], 1)
