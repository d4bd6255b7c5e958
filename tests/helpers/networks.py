"""Networks for tests."""

from __future__ import annotations

import torch
from aepipe.workshop.training.model import build
from torch import nn


def pair(encoder: str, decoder: str, shape=(1, 28, 28), latent: int = 3, objective: str = "mse"):
    torch.manual_seed(0)
    return build({"encoder": encoder, "decoder": decoder, "objective": objective}, shape, latent, 0.4, 0.3)


class Identity(nn.Module):
    def forward(self, value):
        return value


def encoder_of(middle: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), middle, nn.Linear(64, 3))


def decoder_of(middle: nn.Module) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 64), middle, nn.Unflatten(1, (1, 8, 8)))


def linear(latent: int = 4, shape: tuple[int, int, int] = (1, 28, 28)) -> tuple[nn.Module, nn.Module]:
    """An encoder and a decoder of one matrix each."""
    size = shape[0] * shape[1] * shape[2]
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(size, latent))
    return encoder, nn.Sequential(nn.Linear(latent, size), nn.Unflatten(1, shape))
