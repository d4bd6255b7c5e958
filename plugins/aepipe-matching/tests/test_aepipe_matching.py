"""The density itself, then in an autoencoder. The promises that every density keeps are checked by
`pytest --aepipe-conformance aepipe-matching`."""

from __future__ import annotations

import json

import aepipe
import numpy as np
import pytest
import torch
from aepipe_matching import matching


def ring(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    angle = 2 * torch.pi * torch.rand(count, generator=generator)
    points = torch.stack([10 * angle.cos(), angle.sin()], 1)
    return points + 0.05 * torch.randn(points.shape, generator=generator) * torch.tensor([10.0, 1.0])


def drawn(density: torch.nn.Module, count: int) -> torch.Tensor:
    with torch.no_grad():
        return density.sample(torch.randn(count, density.noise_features, generator=torch.Generator().manual_seed(0)))


def test_it_follows_what_no_gaussian_can():
    torch.manual_seed(0)
    density = matching(2, hidden=64, blocks=2, updates=600, lr=3e-3)
    density.fit(ring(2000, seed=1))
    samples = drawn(density, 2000)
    radius = ((samples[:, 0] / 10).square() + samples[:, 1].square()).sqrt()
    assert (radius < 0.5).float().mean() < 0.05, "a tenth of a Gaussian's samples and more lie inside the ring"
    assert float(samples[:, 0].std()) == pytest.approx(10 / 2**0.5, rel=0.1)


def test_more_steps_change_samples_less():
    torch.manual_seed(0)
    density = matching(2, hidden=32, blocks=1, updates=300, lr=3e-3)
    density.fit(ring(2000, seed=1))
    samples = {}
    for steps in (4, 12, 100):
        density.steps = steps
        samples[steps] = drawn(density, 500)
    coarse, fine = ((samples[steps] - samples[100]).abs().mean() for steps in (4, 12))
    assert fine < coarse / 3  # the midpoint rule is of second order


def test_one_seed_gives_one_density():
    def fitted(seed: int, drawn_before: int) -> torch.Tensor:
        torch.randn(drawn_before)
        density = matching(2, hidden=8, blocks=1, updates=5)
        torch.manual_seed(seed)
        density.fit(ring(100, seed=1))
        return drawn(density, 10)

    assert torch.equal(fitted(0, 1), fitted(0, 2))
    assert not torch.equal(fitted(0, 1), fitted(1, 1))


def test_directions_without_variance_stay_constant():
    codes = torch.randn(500, 5, generator=torch.Generator().manual_seed(0))
    codes[:, 1] = 7.0
    codes[:, 4] = codes[:, 0]  # dead as a direction, not as a number
    density = matching(5, hidden=16, blocks=1, updates=50)
    density.fit(codes)
    samples = drawn(density, 500)
    assert (samples[:, 1] - 7).abs().max() < 0.1 and (samples[:, 4] - samples[:, 0]).abs().max() < 0.1


@pytest.mark.parametrize("options", [{"hidden": 0}, {"blocks": 0}, {"steps": 0}, {"updates": 0}, {"lr": 0.0}])
def test_values_that_make_no_sense_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        matching(4, **options)


def test_a_single_code_is_refused():
    with pytest.raises(ValueError, match="at least 2"):
        matching(4).fit(torch.zeros(1, 4))


def test_a_bundle_samples_and_says_that_it_has_no_likelihood(tmp_path):
    run = aepipe.fit(
        "digits:size=8",
        encoder="pca",
        decoder="pca",
        latent_dim=6,
        densities=["matching:hidden=32,blocks=1,updates=100"],
        out=tmp_path / "run",
        show=False,
    )
    bundle = run.export(tmp_path / "bundle", show=False)
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert "matching/sample" in manifest["parity"] and "matching/log_prob" not in manifest["parity"]
    with aepipe.load(bundle, provider="cpu") as model:
        assert np.isfinite(model.sample(5, "matching")).all()
        with pytest.raises(aepipe.AepipeError, match="log"):
            model.log_prob(np.zeros((3, 6), np.float32), "matching")
