"""An adversarial autoencoder (Makhzani et al., 2015) with a player, as a plugin would bring it."""

from __future__ import annotations

import torch
from aepipe import hookimpl
from torch import nn
from torch.nn.functional import softplus


class Adversarial(nn.Module):
    """A critic tells codes from numbers of the prior, and the encoder makes codes that it cannot tell."""

    features_per_latent = 1
    players = ("critic",)

    def __init__(self, latent: int, noisy: bool, weight: float = 1.0):
        super().__init__()
        self.critic = nn.Sequential(nn.Linear(latent, 16), nn.Tanh(), nn.Linear(16, 1))
        self.noisy, self.weight = noisy, weight

    def code(self, features):
        return features

    def losses(self, features, decode, target):
        error = (decode(features) - target).square().sum() / len(target)
        prior = torch.randn_like(features) if self.noisy else features.detach().sign()
        critic = softplus(self.critic(features.detach())).mean() + softplus(-self.critic(prior)).mean()
        fooled = softplus(-self.critic(features)).mean()
        return {"loss": error + self.weight * fooled, "critic": critic, "error": error}


class Objectives:
    @hookimpl
    def register_objectives(self, register):
        register(adversarial)
        register(lambda latent: without(latent, "critics"), name="misnamed")
        register(lambda latent: without(latent, "critic"), name="lossless")


def adversarial(latent, *, noisy: bool = True, weight: float = 1.0):
    """Codes like the prior, by an adversary.

    noisy: whether the prior is drawn, or one of plus and minus one for each number
    weight: of the adversary
    """
    return Adversarial(latent, noisy, weight)


def without(latent: int, player: str) -> nn.Module:
    """One that gives no loss for its player."""

    class Without(Adversarial):
        players = (player,)

        def losses(self, features, decode, target):
            return {"loss": super().losses(features, decode, target)["loss"]}

    return Without(latent, noisy=False)
