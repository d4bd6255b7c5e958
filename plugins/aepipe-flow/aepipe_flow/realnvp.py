"""The flow as a torch module. Only the factory imports this file, so it may import torch."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from aepipe.progress import progress
from torch import Tensor, nn

MOST_HELD_OUT = 5000
LIMIT = 2.0  # a coupling's log-scale is at most this, so that float32 can undo what one layer stretches
FLOOR = 1e-5  # a direction with less than this share of the largest variance is treated as if codes did not vary in it


class Coupling(nn.Module):
    """Scales and shifts the directions outside `mask`; a small network computes scale and shift from those inside it."""

    def __init__(self, mask: Tensor, hidden: int):
        super().__init__()
        self.register_buffer("mask", mask)
        self.register_buffer("free", 1 - mask)
        self.network = nn.Sequential(
            nn.Linear(len(mask), hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Linear(hidden, 2 * len(mask)),
        )

    def reset(self) -> None:
        """Draw new weights that make this layer the identity."""
        for layer in self.network[::2]:
            layer.reset_parameters()
        nn.init.zeros_(self.network[-1].weight)
        nn.init.zeros_(self.network[-1].bias)

    def scale_and_shift(self, values: Tensor) -> tuple[Tensor, Tensor]:
        scale, shift = self.network(values * self.mask).chunk(2, dim=1)
        return LIMIT * self.free * torch.tanh(scale), self.free * shift


class RealNVP(nn.Module):
    """Whitens codes and sends them through `layers` couplings; the result is standard normal noise.

    Before the first step of training every coupling is the identity, so that the flow begins as a Gaussian in the principal
    axes of the codes. The weights with the best likelihood of held-out codes are kept, so that it ends no worse than that. In
    one dimension there is nothing to couple, and the flow is a Gaussian.
    """

    def __init__(self, latent: int, layers: int, hidden: int, epochs: int, lr: float, patience: int):
        super().__init__()
        for name, value in (("layers", layers), ("hidden", hidden), ("epochs", epochs), ("patience", patience)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        if lr <= 0:
            raise ValueError(f"lr must be positive, not {lr}")
        self.noise_features = latent
        self.epochs, self.lr, self.patience = epochs, lr, patience
        self.couplings = nn.ModuleList(Coupling(mask, hidden) for mask in _masks(latent, layers))
        self.register_buffer("mean", torch.zeros(latent))
        self.register_buffer("whiten", torch.eye(latent))
        self.register_buffer("colour", torch.eye(latent))
        self.register_buffer("log_volume", torch.zeros(()))  # log |det| of the whitening

    def sample(self, noise: Tensor) -> Tensor:
        """Noise f32 [N, latent] to codes f32 [N, latent]."""
        values = noise
        for coupling in reversed(self.couplings):
            scale, shift = coupling.scale_and_shift(values)
            values = (values - shift) * torch.exp(-scale)
        return self.mean + values @ self.colour

    def noise(self, codes: Tensor) -> Tensor:
        """Codes to noise: the inverse of `sample`."""
        return self._flow((codes - self.mean) @ self.whiten)[0]

    def log_prob(self, codes: Tensor) -> Tensor:
        """Natural logarithm f32 [N] of the density at codes f32 [N, latent]."""
        return self._likelihood((codes - self.mean) @ self.whiten) + self.log_volume

    def fit(self, codes: Tensor) -> None:
        """Fit to codes f32 [N, latent], with random numbers from torch's generator. ValueError for fewer than two codes."""
        if len(codes) < 2:
            raise ValueError("a flow is fitted to at least 2 codes, one of them held out")
        values = self._whiten(codes)
        order = torch.randperm(len(values))
        held_out = min(max(len(values) // 10, 1), MOST_HELD_OUT)
        for coupling in self.couplings:
            coupling.reset()
        with torch.enable_grad():
            self._train(values[order[held_out:]], values[order[:held_out]])

    @torch.no_grad()
    def _whiten(self, codes: Tensor) -> Tensor:
        """Set the linear part; returns codes with mean 0 and covariance 1.

        A direction without variance is filled up with noise, so that the flow has nothing to learn there and stays finite.
        """
        centred = codes.double() - codes.double().mean(0)
        variances, axes = torch.linalg.eigh(centred.T @ centred / len(codes))
        floored = variances.clamp(min=max(FLOOR * float(variances.max()), 1e-12))
        self.mean.copy_(codes.double().mean(0))
        self.whiten.copy_(axes / floored.sqrt())
        self.colour.copy_((axes * floored.sqrt()).T)
        self.log_volume.copy_(-0.5 * floored.log().sum())
        missing = (1 - variances / floored).clamp(min=0).sqrt()
        values = centred @ (axes / floored.sqrt())
        return (values + missing * torch.randn_like(values)).float()

    def _flow(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Whitened codes to noise, and the logarithm of the volume change [N]."""
        volume = torch.zeros_like(values[:, 0])
        for coupling in self.couplings:
            scale, shift = coupling.scale_and_shift(values)
            values = values * torch.exp(scale) + shift
            volume = volume + scale.sum(1)
        return values, volume

    def _likelihood(self, values: Tensor) -> Tensor:
        noise, volume = self._flow(values)
        return volume - 0.5 * (noise.square() + math.log(2 * math.pi)).sum(1)

    def _train(self, train: Tensor, held_out: Tensor) -> None:
        """Train with Adam until the held-out likelihood has not improved for `patience` epochs; keep the best weights."""
        optimiser = torch.optim.Adam(self.parameters(), lr=self.lr, fused=True)
        size = min(max(len(train) // 100, 200), 2000)
        best, best_epoch, weights = self._score(held_out), 0, self._weights()
        with progress("fitting flow", self.epochs * len(train)) as advance:
            for epoch in range(1, self.epochs + 1):
                for step, batch in enumerate(train[torch.randperm(len(train))].split(size)):
                    share = (epoch - 1 + step * size / len(train)) / self.epochs
                    optimiser.param_groups[0]["lr"] = self.lr * 0.5 * (1 + math.cos(math.pi * share))
                    optimiser.zero_grad()
                    (-self._likelihood(batch).mean()).backward()
                    optimiser.step()
                    advance(len(batch))
                score = self._score(held_out)
                if score > best:
                    best, best_epoch, weights = score, epoch, self._weights()
                advance(0, f"epoch {epoch} · held-out log-likelihood {best + float(self.log_volume):.2f}")
                if epoch - best_epoch >= self.patience or not math.isfinite(score):
                    break
        self.load_state_dict(weights)

    @torch.no_grad()
    def _score(self, values: Tensor) -> float:
        return float(self._likelihood(values).mean())

    def _weights(self) -> dict[str, Tensor]:
        return {name: tensor.clone() for name, tensor in self.state_dict().items()}


def _masks(latent: int, layers: int) -> Iterator[Tensor]:
    """Yield masks in pairs: half of the directions, chosen at random, then the other half. They are the same in every call."""
    generator = torch.Generator().manual_seed(0)
    half = torch.zeros(latent)
    for layer in range(layers):
        if layer % 2 == 0:
            half = (torch.randperm(latent, generator=generator) < latent / 2).float()
        yield half if layer % 2 == 0 else 1 - half
