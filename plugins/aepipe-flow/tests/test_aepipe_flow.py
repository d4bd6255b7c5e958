"""The flow itself, then the flow in an autoencoder. The promises that every density keeps are checked by
`pytest --aepipe-conformance aepipe-flow`."""

from __future__ import annotations

import json
from contextlib import contextmanager

import aepipe
import numpy as np
import pytest
import torch
from aepipe_flow import flow, realnvp


def gaussian_score(train: torch.Tensor, test: torch.Tensor) -> float:
    """Mean log-likelihood of `test` under the Gaussian with the moments of `train`."""
    normal = torch.distributions.MultivariateNormal(train.mean(0), train.T.cov())
    return float(normal.log_prob(test).mean())


def ring(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    angle = 2 * torch.pi * torch.rand(count, generator=generator)
    points = torch.stack([10 * angle.cos(), angle.sin()], 1)
    return points + 0.1 * torch.randn(points.shape, generator=generator)


@pytest.fixture(scope="module")
def on_ring() -> torch.nn.Module:
    torch.manual_seed(0)
    density = flow(2, layers=4, hidden=24, epochs=20, lr=0.01)
    density.fit(ring(2000, seed=1))
    return density.requires_grad_(False)


def test_it_follows_what_no_gaussian_can(on_ring):
    test = ring(1000, seed=2)
    assert float(on_ring.log_prob(test).mean()) > gaussian_score(ring(2000, seed=1), test) + 0.5
    samples = on_ring.sample(torch.randn(1000, 2, generator=torch.Generator().manual_seed(0)))
    radius = ((samples[:, 0] / 10).square() + samples[:, 1].square()).sqrt()
    assert (radius < 0.5).float().mean() < 0.1, "a tenth of a Gaussian's samples and more lie inside the ring"


def test_noise_undoes_sample(on_ring):
    noise = torch.randn(500, 2, generator=torch.Generator().manual_seed(3))
    assert torch.allclose(on_ring.noise(on_ring.sample(noise)), noise, atol=1e-3)


def test_one_seed_gives_one_flow():
    codes = ring(300, seed=1)

    def fitted(seed: int, drawn_before: int) -> torch.Tensor:
        torch.randn(drawn_before)
        density = flow(2, layers=2, hidden=8, epochs=2)
        torch.manual_seed(seed)
        density.fit(codes)
        return density.log_prob(codes).detach()

    assert torch.equal(fitted(0, 1), fitted(0, 2))
    assert not torch.equal(fitted(0, 1), fitted(1, 1))


def test_where_there_is_nothing_to_learn_it_stops_early_and_is_the_gaussian(monkeypatch):
    passed = []

    @contextmanager
    def counting(what, total):
        with real(what, total) as advance:
            yield lambda steps, note=None: (passed.append(steps), advance(steps, note))

    real = realnvp.progress
    monkeypatch.setattr(realnvp, "progress", counting)
    codes = torch.randn(1000, 4, generator=torch.Generator().manual_seed(0)) @ torch.diag(torch.tensor([1.0, 2, 3, 4]))
    torch.manual_seed(0)
    density = flow(4, layers=4, hidden=16, epochs=500, patience=2)
    density.fit(codes)
    density.requires_grad_(False)
    epochs = sum(passed) / 900  # of the thousand codes a tenth is held out
    assert 2 <= epochs < 100
    assert float(density.log_prob(codes).mean()) == pytest.approx(gaussian_score(codes, codes), abs=0.05)


def test_one_dimension_is_a_gaussian():
    codes = 3 + 2 * torch.randn(500, 1, generator=torch.Generator().manual_seed(0))
    density = flow(1, epochs=3)
    density.fit(codes)
    samples = density.sample(torch.randn(4000, 1, generator=torch.Generator().manual_seed(1))).detach()
    assert float(samples.mean()) == pytest.approx(3, abs=0.3) and float(samples.std()) == pytest.approx(2, abs=0.3)


def test_directions_without_variance_stay_finite_and_constant():
    codes = torch.randn(500, 5, generator=torch.Generator().manual_seed(0))
    codes[:, 1] = 7.0
    codes[:, 4] = codes[:, 0]  # dead as a direction, not as a number
    density = flow(5, layers=4, hidden=16, epochs=3)
    density.fit(codes)
    samples = density.sample(torch.randn(500, 5)).detach()
    assert torch.isfinite(density.log_prob(codes)).all() and torch.isfinite(samples).all()
    assert (samples[:, 1] - 7).abs().max() < 0.1 and (samples[:, 4] - samples[:, 0]).abs().max() < 0.1


@pytest.mark.parametrize("options", [{"layers": 0}, {"hidden": 0}, {"epochs": 0}, {"patience": 0}, {"lr": 0.0}])
def test_values_that_make_no_sense_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        flow(4, **options)


def test_a_single_code_is_refused():
    with pytest.raises(ValueError, match="at least 2"):
        flow(4).fit(torch.zeros(1, 4))


def test_sixty_four_dimensions_with_dead_ones_pass_the_parity_gate(tmp_path):
    """All 64 principal components of 8x8 digits, some of which never vary because the corners are always black."""
    run = aepipe.fit(
        "digits:size=8",
        encoder="pca",
        decoder="pca",
        latent_dim=64,
        densities=["flow:layers=4,epochs=5"],
        out=tmp_path / "run",
        show=False,
    )
    bundle = run.export(tmp_path / "bundle", show=False)
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert {"flow/sample", "flow/log_prob", "flow/noise"} <= set(manifest["parity"])
    record = manifest["components"]["densities"]["flow"]
    assert record["plugin"] == "aepipe-flow" and record["options"]["epochs"] == 5
    model = aepipe.load(bundle, provider="cpu")
    assert model.sample(5, "flow").shape == (5, 1, 8, 8)
    assert np.isfinite(model.score("digits:size=8", "flow")["log_density"]).all()
