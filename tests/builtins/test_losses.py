"""Built-in objectives."""

from __future__ import annotations

import aepipe
import numpy as np
import pytest
import torch
from aepipe import plugins

# Objectives


def test_the_quadratic_loss():
    objective = plugins.create("objective", "mse", 3)
    output, target = torch.rand(4, 1, 5, 5), torch.rand(4, 1, 5, 5)
    losses = objective.losses(torch.zeros(4, 3), lambda codes: output, target)
    assert float(losses["loss"]) == pytest.approx(0.5 * float((output - target).square().sum()) / 4)


def test_the_variational_loss():
    objective = plugins.create("objective", "vae:beta=2", 3)
    assert objective.features_per_latent == 2
    features = torch.randn(500, 6)
    mean, deviation = features[:, :3], (0.5 * features[:, 3:]).exp()
    assert torch.equal(objective.code(features), mean)
    target = torch.zeros(500, 3)
    losses = objective.losses(features, lambda codes: codes, target)
    normal, standard = torch.distributions.Normal(mean, deviation), torch.distributions.Normal(0.0, 1.0)
    divergence = torch.distributions.kl_divergence(normal, standard).sum() / 500
    assert float(losses["kl"]) == pytest.approx(float(divergence), rel=1e-4)
    assert float(losses["loss"]) == pytest.approx(float(losses["reconstruction"] + 2 * losses["kl"]), rel=1e-6)
    expected = 0.5 * (mean.square() + deviation.square()).sum() / 500
    assert float(losses["reconstruction"]) == pytest.approx(float(expected), rel=0.2)
    again = objective.losses(features, lambda codes: codes, target)["loss"]
    assert float(again) != float(losses["loss"])  # the posterior is sampled


@pytest.mark.trains
def test_rae_keeps_codes_and_weights_small(tmp_path):
    def train(objective: str):
        torch.manual_seed(0)
        return aepipe.fit(
            "digits", encoder="mlp:hidden=32", decoder="mlp:hidden=32", objective=objective, latent_dim=4, epochs=5,
            limit=500, lr=3e-3, precision="fp32", out=tmp_path / objective.replace(":", "-"), show=False,
        )  # fmt: skip

    plain, regularised = train("mse"), train("rae:code=5,decoder=0.1")
    assert np.square(regularised.codes()[0]).mean() < 0.5 * np.square(plain.codes()[0]).mean()
    norms = [
        float(sum(p.square().sum() for p in run.model().decoder.parameters() if p.ndim > 1))
        for run in (plain, regularised)
    ]
    assert norms[1] < norms[0]


def test_rae_without_penalties_is_the_squared_error():
    objective = plugins.create("objective", "rae:code=0,decoder=0", 3)
    plain = plugins.create("objective", "mse", 3)
    decode = torch.nn.Linear(3, 5).requires_grad_(False)
    features, target = torch.randn(7, 3), torch.randn(7, 5)
    assert float(objective.losses(features, decode, target)["loss"]) == pytest.approx(
        float(plain.losses(features, decode, target)["loss"])
    )
    with pytest.raises(aepipe.BadInput, match="decoder must not be negative"):
        plugins.create("objective", "rae:decoder=-1", 3)
