"""The modules of the built-in objectives. Only their factories import this file, so it may import torch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

Decode = Callable[[Tensor], Tensor]


def half_squared_error(output: Tensor, target: Tensor) -> Tensor:
    """Half the squared error, summed over each image and averaged over the batch."""
    return 0.5 * (output - target).square().sum() / len(target)


class AbsoluteError(nn.Module):
    """The features are the code; the loss is √(e² + ε²), summed over each sample (Charbonnier et al., 1994)."""

    features_per_latent = 1

    def __init__(self, epsilon: float):
        super().__init__()
        if epsilon < 0:
            raise ValueError(f"epsilon must not be negative, not {epsilon}")
        self.epsilon = epsilon

    def code(self, features: Tensor) -> Tensor:
        return features

    def losses(self, features: Tensor, decode: Decode, target: Tensor) -> dict[str, Tensor]:
        error = decode(features).float() - target
        size = error.abs() if self.epsilon == 0 else (error.square() + self.epsilon**2).sqrt()
        return {"loss": size.sum() / len(target)}


class SquaredError(nn.Module):
    """The features are the code; the loss is the lecture's ½·‖g(f(x)) − x‖²."""

    features_per_latent = 1

    def code(self, features: Tensor) -> Tensor:
        return features

    def losses(self, features: Tensor, decode: Decode, target: Tensor) -> dict[str, Tensor]:
        return {"loss": half_squared_error(decode(features), target)}


class Variational(nn.Module):
    """The features are mean and log-variance of a Gaussian posterior; the decoder's noise has variance 1."""

    features_per_latent = 2

    def __init__(self, latent: int, beta: float):
        super().__init__()
        if beta < 0:
            raise ValueError(f"beta must not be negative, not {beta}")
        self.latent, self.beta = latent, beta

    def code(self, features: Tensor) -> Tensor:
        return features[:, : self.latent]

    def losses(self, features: Tensor, decode: Decode, target: Tensor) -> dict[str, Tensor]:
        features = features.float()  # bf16 is too coarse for the divergence, a sum of small differences
        mean, log_variance = features[:, : self.latent], features[:, self.latent :].clamp(-30, 20)
        reconstruction = half_squared_error(decode(mean + torch.randn_like(mean) * (0.5 * log_variance).exp()), target)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum() / len(target)
        return {"loss": reconstruction + self.beta * divergence, "reconstruction": reconstruction, "kl": divergence}


class Regularised(nn.Module):
    """The squared error plus two penalties: on large codes and on large weights of the decoder."""

    features_per_latent = 1

    def __init__(self, code: float, decoder: float):
        super().__init__()
        for name, weight in (("code", code), ("decoder", decoder)):
            if weight < 0:
                raise ValueError(f"{name} must not be negative, not {weight}")
        self.code_weight, self.decoder_weight = code, decoder

    def code(self, features: Tensor) -> Tensor:
        return features

    def losses(self, features: Tensor, decode: Decode, target: Tensor) -> dict[str, Tensor]:
        features = features.float()
        reconstruction = half_squared_error(decode(features), target)
        codes = 0.5 * features.square().sum() / len(features)
        weights = [each.square().sum() for each in decode.parameters() if each.ndim > 1]  # type: ignore[attr-defined]
        size = 0.5 * sum(weights, start=features.new_zeros(()))
        loss = reconstruction + self.code_weight * codes + self.decoder_weight * size
        return {"loss": loss, "reconstruction": reconstruction, "codes": codes, "weights": size}


class Supervised(nn.Module):
    """The squared error, and the cross-entropy of a linear classifier of the code."""

    features_per_latent = 1

    def __init__(self, latent: int, classes: int, weight: float):
        super().__init__()
        if weight < 0:
            raise ValueError(f"weight must not be negative, not {weight}")
        self.weight, self.outputs = weight, {"class": classes}
        self.head = nn.Linear(latent, classes)

    def code(self, features: Tensor) -> Tensor:
        return features

    def output(self, codes: Tensor) -> dict[str, Tensor]:
        """Logits: softmax makes probabilities of them."""
        return {"class": self.head(codes.flatten(1))}

    def losses(self, features: Tensor, decode: Decode, target: Tensor, *, labels: Tensor) -> dict[str, Tensor]:
        known = labels >= 0
        scores = self.output(features)["class"].float()
        entropy = nn.functional.cross_entropy(scores[known], labels[known], reduction="sum") / known.sum().clamp(min=1)
        reconstruction = half_squared_error(decode(features), target)
        return {
            "loss": reconstruction + self.weight * entropy,
            "reconstruction": reconstruction,
            "cross_entropy": entropy,
        }
