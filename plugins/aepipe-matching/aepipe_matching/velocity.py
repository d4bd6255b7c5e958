"""The density as a torch module. Only the factory imports this file, so it may import torch."""

from __future__ import annotations

import math

import torch
from aepipe.progress import progress
from torch import Tensor, nn
from torch.nn.functional import silu

WAVES = 8  # frequencies in which the network is told the time
AVERAGE = 0.999  # of the weights: what is kept is their moving mean
BATCH = 1024
FLOOR = 1e-5  # a direction with less than this share of the largest variance is treated as if codes did not vary in it


class Velocity(nn.Module):
    """Points f32 [N, latent] and a time in 0..1, f32 [N, 1], to the velocity f32 [N, latent] there."""

    def __init__(self, latent: int, hidden: int, blocks: int):
        super().__init__()
        self.register_buffer("waves", math.pi * torch.arange(1, WAVES + 1))
        self.first = nn.Linear(latent + 2 * WAVES, hidden)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(hidden), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
            for _ in range(blocks)
        )
        self.last = nn.Linear(hidden, latent)

    def forward(self, points: Tensor, time: Tensor) -> Tensor:
        phases = time * self.waves
        values = silu(self.first(torch.cat([points, phases.cos(), phases.sin()], 1)))
        for block in self.blocks:
            values = values + block(values)
        return self.last(silu(values))


class Matching(nn.Module):
    """Noise moves along straight lines to codes, on average: a network learns the mean velocity at each place and time.

    Codes are whitened first, so that noise and codes have the same mean and covariance. `sample` follows the velocity from
    time 0 to 1 by the midpoint rule; the steps are unrolled, so that its graph has no loop.
    """

    def __init__(self, latent: int, hidden: int, blocks: int, steps: int, updates: int, lr: float):
        super().__init__()
        for name, value in (("hidden", hidden), ("blocks", blocks), ("steps", steps), ("updates", updates)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        if lr <= 0:
            raise ValueError(f"lr must be positive, not {lr}")
        self.noise_features = latent
        self.steps, self.updates, self.lr = steps, updates, lr
        self.velocity = Velocity(latent, hidden, blocks)
        self.register_buffer("mean", torch.zeros(latent))
        self.register_buffer("colour", torch.eye(latent))

    def sample(self, noise: Tensor) -> Tensor:
        """Noise f32 [N, latent] to codes f32 [N, latent]."""
        points, size = noise, 1 / self.steps
        for step in range(self.steps):
            time = torch.full_like(noise[:, :1], step * size)
            middle = points + 0.5 * size * self.velocity(points, time)
            points = points + size * self.velocity(middle, time + 0.5 * size)
        return self.mean + points @ self.colour

    def fit(self, codes: Tensor) -> None:
        """Fit to codes f32 [N, latent], with random numbers from torch's generator. ValueError for fewer than two codes."""
        if len(codes) < 2:
            raise ValueError("flow matching needs at least 2 codes")
        values = self._whiten(codes)
        for layer in self.velocity.modules():
            if layer is not self.velocity and hasattr(layer, "reset_parameters"):
                layer.reset_parameters()
        nn.init.zeros_(self.velocity.last.weight)
        nn.init.zeros_(self.velocity.last.bias)
        with torch.enable_grad():
            self._train(values)

    @torch.no_grad()
    def _whiten(self, codes: Tensor) -> Tensor:
        """Set the linear part; returns codes with mean 0 and covariance 1, and noise in directions without variance."""
        centred = codes.double() - codes.double().mean(0)
        variances, axes = torch.linalg.eigh(centred.T @ centred / len(codes))
        floored = variances.clamp(min=max(FLOOR * float(variances.max()), 1e-12))
        self.mean.copy_(codes.double().mean(0))
        self.colour.copy_((axes * floored.sqrt()).T)
        values = centred @ (axes / floored.sqrt())
        return (values + (1 - variances / floored).clamp(min=0).sqrt() * torch.randn_like(values)).float()

    def _train(self, values: Tensor) -> None:
        optimiser = torch.optim.Adam(self.velocity.parameters(), lr=self.lr, fused=True)
        average = [weight.detach().clone() for weight in self.velocity.parameters()]
        batch = min(BATCH, len(values))
        seen = 0.0  # a moving mean of the error
        with progress("matching", self.updates) as advance:
            for update in range(self.updates):
                optimiser.param_groups[0]["lr"] = self.lr * 0.5 * (1 + math.cos(math.pi * update / self.updates))
                code = values[torch.randint(len(values), (batch,))]
                noise, time = torch.randn_like(code), torch.rand(batch, 1)
                error = (self.velocity(torch.lerp(noise, code, time), time) - (code - noise)).square().mean()
                optimiser.zero_grad()
                error.backward()
                optimiser.step()
                # At the start the mean follows quickly, so that it forgets the weights that were drawn.
                torch._foreach_lerp_(
                    average, list(self.velocity.parameters()), 1 - min(AVERAGE, update / (update + 10))
                )
                seen = float(error) if not update else 0.99 * seen + 0.01 * float(error)
                if update % 50 == 49 or update == self.updates - 1:
                    advance(update % 50 + 1, f"error {seen:.4f}")
        with torch.no_grad():
            for weight, mean in zip(self.velocity.parameters(), average, strict=True):
                weight.copy_(mean)
