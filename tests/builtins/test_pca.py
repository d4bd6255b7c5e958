"""PCA in closed form, as encoder and as decoder."""

from __future__ import annotations

import math

import aepipe
import numpy as np
import pytest
import torch
from aepipe.errors import BadInput
from aepipe.images.data import open_images
from aepipe.judging.metrics import evaluate
from aepipe.workshop.training.finish import reconstruction
from aepipe.workshop.training.model import fit_closed_forms
from aepipe_builtins import pca

from tests.helpers.networks import pair

# Closed forms


def correlated(count: int, shape: tuple[int, int, int]) -> np.ndarray:
    """Images with a spectrum that falls: what PCA is for."""
    rng = np.random.default_rng(0)
    pixels = math.prod(shape)
    spread = 0.7 ** np.arange(20)
    images = (rng.standard_normal((count, 20)) * spread) @ rng.standard_normal((20, pixels)) / 20
    return (images - images.min()).astype(np.float32).reshape(count, *shape) / float(np.ptp(images))


def test_pca_is_the_svd():
    images = torch.from_numpy(correlated(200, (1, 6, 7)))
    model = pair("pca", "pca", (1, 6, 7), latent=5)
    fit_closed_forms(model, [model.standardise(images[:120]), model.standardise(images[120:])])
    flat = model.standardise(images).flatten(1).double()
    centred = flat - flat.mean(0)
    left, singular, right = torch.linalg.svd(centred, full_matrices=False)
    best = flat.mean(0) + (left[:, :5] * singular[:5]) @ right[:5]
    output = model.decoder(model.encoder(model.standardise(images))).flatten(1)
    torch.testing.assert_close(output.double(), best, atol=1e-5, rtol=0)
    axes = model.encoder.axes.double()
    torch.testing.assert_close(axes.T @ axes, torch.eye(5, dtype=torch.float64), atol=1e-5, rtol=0)
    torch.testing.assert_close((axes * right[:5].T).sum(0).abs(), torch.ones(5, dtype=torch.float64), atol=1e-4, rtol=0)


def test_the_randomised_path_is_close_to_the_exact_one(monkeypatch):
    images = torch.from_numpy(correlated(300, (1, 12, 12)))
    errors = []
    for limit in (pca.EXACT_UP_TO, 10):
        monkeypatch.setattr(pca, "EXACT_UP_TO", limit)
        model = pair("pca", "pca", (1, 12, 12), latent=6)
        fit_closed_forms(model, list(model.standardise(images).split(77)))
        errors.append(float((model.decode(model.encode(images)) - images).square().mean()))
    assert errors[1] == pytest.approx(errors[0], rel=1e-3)
    assert errors[1] >= errors[0] * (1 - 1e-6)


@pytest.mark.parametrize("exact_up_to", [4096, 1])
def test_pca_of_fewer_images_than_components_stays_finite(exact_up_to: int, monkeypatch):
    monkeypatch.setattr(pca, "EXACT_UP_TO", exact_up_to)
    images = torch.rand(3, 1, 8, 8)
    model = pair("pca", "pca", (1, 8, 8), latent=16)
    fit_closed_forms(model, [model.standardise(images)])
    torch.testing.assert_close(model.decode(model.encode(images)), images, atol=1e-4, rtol=0)


@pytest.mark.trains
@pytest.mark.slow
def test_pca_on_mnist_is_as_good_as_pca_can_be(data_folder, tmp_path):
    known = {2: 0.05547, 8: 0.03641, 32: 0.01521}
    test = open_images("mnist", split="test")
    for latent, error in known.items():
        run = aepipe.fit(
            "mnist", encoder="pca", decoder="pca", latent_dim=latent, out=tmp_path / f"d{latent}", show=False
        )
        assert run.config["metrics"]["split"] == "test" and run.config["metrics"]["count"] == 10_000
        assert run.config["metrics"]["mse"] == pytest.approx(error, rel=0.005), latent
    again = evaluate(reconstruction(run.model()), test)
    assert again["mse"] == pytest.approx(run.config["metrics"]["mse"], rel=1e-6)


def test_pca_cannot_be_variational():
    with pytest.raises(BadInput, match="closed form") as caught:
        aepipe.fit("digits", encoder="pca", objective="vae", limit=20)
    assert "objective='mse'" in caught.value.hint


def test_pca_decoder_beside_a_trained_encoder_trains():
    model = pair("mlp:hidden=16", "pca", (1, 8, 8))
    assert not fit_closed_forms(model, [torch.zeros(2, 1, 8, 8)])
    assert all(parameter.requires_grad for parameter in model.decoder.parameters())
