"""The density `gmm`: against scikit-learn, torch's own distributions and what it promises."""

from __future__ import annotations

import aepipe
import numpy as np
import pytest
import torch
from aepipe import plugins
from sklearn.mixture import GaussianMixture


def clusters(count: int = 3000, latent: int = 4, seed: int = 0) -> torch.Tensor:
    """Three clusters of other shapes and weights."""
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randn(count, latent, generator=generator)
    shear = torch.randn(3, latent, latent, generator=generator)
    centres = 8 * torch.randn(3, latent, generator=generator)
    which = torch.multinomial(torch.tensor([0.6, 0.3, 0.1]), count, replacement=True, generator=generator)
    return (shear[which] @ codes[:, :, None]).squeeze(2) + centres[which]


def fitted(codes: torch.Tensor, components: int):
    torch.manual_seed(0)
    density = plugins.create("density", f"gmm:components={components}", codes.shape[1])
    density.fit(codes)
    return density.eval()


def test_it_finds_clusters_as_scikit_learn_does():
    codes, held_out = clusters(), clusters(seed=0)[:500]
    density = fitted(codes, 3)
    reference = GaussianMixture(3, random_state=0, n_init=3).fit(codes.double().numpy())
    ours, theirs = float(density.log_prob(held_out).mean()), reference.score(held_out.double().numpy())
    assert ours == pytest.approx(theirs, abs=0.02)
    gaussian = plugins.create("density", "pca", 4)
    gaussian.fit(codes)
    assert ours > float(gaussian.log_prob(held_out).mean()) + 1


def test_log_prob_is_that_of_torchs_mixture():
    density = fitted(clusters(), 5)
    mixture = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(logits=density.log_weights.double()),
        torch.distributions.MultivariateNormal(density.means.double(), scale_tril=density.factors.double()),
    )
    points = clusters(seed=3)[:200]
    torch.testing.assert_close(
        density.log_prob(points).double(), mixture.log_prob(points.double()), atol=1e-3, rtol=1e-4
    )


def test_noise_picks_the_components_by_their_weights():
    codes = clusters()
    density = fitted(codes, 3)
    noise = torch.randn(50_000, density.noise_features, generator=torch.Generator().manual_seed(0))
    drawn = density.sample(noise)
    torch.testing.assert_close(drawn.mean(0), codes.mean(0), atol=0.3, rtol=0.05)
    torch.testing.assert_close(torch.cov(drawn.T), torch.cov(codes.T), atol=1.0, rtol=0.1)
    nearest = torch.cdist(drawn, density.means).argmin(1)
    shares = torch.bincount(nearest, minlength=3) / len(drawn)
    torch.testing.assert_close(shares, density.log_weights.exp(), atol=0.03, rtol=0)
    extreme = torch.zeros(2, density.noise_features)
    extreme[:, -1] = torch.tensor([-40.0, 40.0])
    assert torch.isfinite(density.sample(extreme)).all()


@pytest.mark.parametrize("components", [1, 7])
def test_dead_directions_and_repeated_codes_stay_finite(components):
    codes = clusters(200, 6)
    codes[:, 2] = 5.0
    codes[100:] = codes[0]
    density = fitted(codes, components)
    for values in (density.log_prob(codes), density.sample(torch.randn(9, 7))):
        assert torch.isfinite(values).all()


def test_more_components_than_codes_and_none_are_refused(digits_run):
    with pytest.raises(aepipe.BadInput, match="5000 components need as many codes"):
        digits_run.fit_density("many=gmm:components=5000")
    with pytest.raises(aepipe.BadInput, match="at least 1"):
        digits_run.fit_density("none=gmm:components=0")


@pytest.mark.trains
def test_it_exports_and_samples(tmp_path):
    run = aepipe.fit(
        "digits", encoder="mlp:hidden=32", decoder="mlp:hidden=32", latent_dim=8, epochs=1, limit=500,
        densities=["gaussian", "one=gmm:components=1", "gmm"], out=tmp_path / "run", show=False,
    )  # fmt: skip
    model = aepipe.load(run.export(tmp_path / "bundle", show=False), "cpu")
    assert model.bundle.noise_features("gmm") == 9 and not model.bundle.has("noise", "gmm")
    images = model.sample(33, density="gmm", seed=1)
    np.testing.assert_array_equal(images, model.sample(33, density="gmm", seed=1))
    scores = [model.score("digits[:200]", name)["log_density"].mean() for name in ("gaussian", "one", "gmm")]
    assert scores == sorted(scores)


def of_classes(components: int, classes: int, codes: torch.Tensor, labels: torch.Tensor):
    torch.manual_seed(0)
    spec = f"gmm:components={components},by_class=true"
    density = plugins.create("density", spec, codes.shape[1], classes=classes)
    density.fit(codes, labels)
    return density.eval()


def test_every_class_has_the_density_of_its_own_codes():
    codes = clusters()
    labels = (codes[:, 0] > codes[:, 0].median()).long() + (codes[:, 1] > 0)
    labels[:7] = -1
    density = of_classes(1, 3, codes, labels)
    for label in range(3):
        own = codes[labels == label].double()
        expected = torch.distributions.MultivariateNormal(own.mean(0), torch.cov(own.T, correction=0))
        got = density.log_prob(codes[:200], torch.full((200,), label))
        torch.testing.assert_close(got.double(), expected.log_prob(codes[:200].double()), rtol=1e-2, atol=1e-2)
        drawn = density.sample(torch.randn(20_000, 5), torch.full((20_000,), label))
        torch.testing.assert_close(drawn.mean(0).double(), own.mean(0), atol=0.1 * float(own.std(0).max()), rtol=0)


def test_rare_classes_do_with_what_they_have():
    codes, labels = clusters(60), torch.zeros(60, dtype=torch.int64)
    labels[:3], labels[3] = 1, 2
    density = of_classes(4, 4, codes, labels)
    one = density.log_prob(codes, torch.full((60,), 3))
    another = density.log_prob(codes, torch.full((60,), 2))
    assert torch.isfinite(one).all() and torch.isfinite(another).all()
    assert float(another.mean()) == pytest.approx(float(one.mean()), abs=1.5)  # both have the mixture of all codes
    for label in range(4):
        drawn = density.sample(torch.randn(500, 5), torch.full((500,), label))
        assert torch.isfinite(drawn).all()


def test_it_conforms_by_class():
    from aepipe import testing
    from aepipe_builtins.densities import gmm

    subject = testing.Subject("density", gmm, {"components": 2, "by_class": True})
    for name in (
        "says_its_classes",
        "follows_the_label",
        "samples_what_it_scores",
        "survives_saving",
        "bears_few_codes",
    ):
        testing.run_check(testing.checks_of("density")[name], subject)
