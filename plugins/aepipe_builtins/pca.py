"""The linear autoencoder in closed form. Only factories import this file, so it may import torch."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

import torch
from torch import Tensor, nn

from .networks import check_vector

# For more pixels than this, the eigenvectors of the covariance take longer than some more passes over the images.
EXACT_UP_TO = 2048


class PcaEncoder(nn.Module):
    """Projects on the first `features` principal axes; `fit` reads the images in batches, several times if necessary."""

    def __init__(self, shape: tuple[int, ...], features: int):
        super().__init__()
        check_vector(features, shape)
        pixels = prod(shape)
        if features > pixels:
            raise ValueError(f"{features} components are more than the {pixels} values of an image")
        self.register_buffer("mean", torch.zeros(pixels))
        self.register_buffer("axes", torch.eye(pixels, features))

    def forward(self, images: Tensor) -> Tensor:
        return (images.flatten(1) - self.mean) @ self.axes

    def fit(self, images: Iterable[Tensor]) -> None:
        """Fit to standardised images [n, *shape]: exact up to EXACT_UP_TO pixels, else by a randomised SVD."""
        count, total = 0, torch.zeros(len(self.mean), dtype=torch.float64, device=self.mean.device)
        for batch in images:
            total += batch.flatten(1).sum(0, dtype=torch.float64)
            count += len(batch)
        self.mean.copy_(total / count)
        exact = len(self.mean) <= EXACT_UP_TO
        axes = self._eigenvectors(images) if exact else self._subspace(images)
        # The sign of an axis is arbitrary. Here the largest entry becomes positive, so that every machine gives the same codes.
        largest = axes.gather(0, axes.abs().argmax(0, keepdim=True))
        self.axes.copy_(axes * torch.where(largest < 0, -1.0, 1.0))

    def _eigenvectors(self, images: Iterable[Tensor]) -> Tensor:
        pixels, features = self.axes.shape
        scatter = torch.zeros(pixels, pixels, dtype=torch.float64, device=self.mean.device)
        for batch in images:
            centred = batch.flatten(1) - self.mean
            scatter += centred.T @ centred
        return torch.linalg.eigh(scatter).eigenvectors.flip(1)[:, :features].float()

    def _subspace(self, images: Iterable[Tensor], extra: int = 10, passes: int = 8) -> Tensor:
        """Randomised subspace iteration (Halko, Martinsson and Tropp, 2011), with one pass over the images per step."""
        pixels, features = self.axes.shape
        generator = torch.Generator().manual_seed(0)
        basis = torch.randn(pixels, min(features + extra, pixels), generator=generator).to(self.mean.device)
        for _ in range(passes):
            basis = torch.linalg.qr(basis).Q
            image_of_basis = torch.zeros_like(basis)
            for batch in images:
                centred = batch.flatten(1) - self.mean
                image_of_basis += centred.T @ (centred @ basis)
            small, basis = basis.T @ image_of_basis, image_of_basis
        rotation = torch.linalg.eigh(small).eigenvectors.flip(1)
        # The product of the last pass spans a better subspace than the basis before it. The Rayleigh quotients, in `small`, give
        # the order of its directions.
        return torch.linalg.qr(basis @ rotation).Q[:, :features]


class LinearDecoder(nn.Linear):
    """An affine map from codes to images; `fit` solves the least-squares problem by its normal equations."""

    def __init__(self, latent: int, shape: tuple[int, ...]):
        check_vector(latent, shape)
        super().__init__(latent, prod(shape))
        self.shape = shape

    def forward(self, codes: Tensor) -> Tensor:
        return super().forward(codes).unflatten(1, self.shape)

    @torch.no_grad()
    def fit(self, codes: Tensor, images: Iterable[Tensor]) -> None:
        design = torch.cat([codes, torch.ones_like(codes[:, :1])], 1).double()
        target = torch.zeros(design.shape[1], self.out_features, dtype=torch.float64, device=codes.device)
        start = 0
        for batch in images:
            target += design[start : start + len(batch)].T @ batch.flatten(1).double()
            start += len(batch)
        # A pseudo-inverse, because codes may have directions without variance.
        solution = torch.linalg.pinv(design.T @ design, hermitian=True, rtol=1e-12) @ target
        self.weight.copy_(solution[:-1].T)
        self.bias.copy_(solution[-1])
