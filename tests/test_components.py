"""Built-in encoders, decoders, objectives, densities and corruptions: what each computes."""

from __future__ import annotations

import math
from itertools import product

import aepipe
import numpy as np
import pytest
import torch
from aepipe import plugins
from aepipe.errors import BadInput
from aepipe.images.data import open_images
from aepipe.judging.metrics import evaluate
from aepipe.workshop.export.to_onnx import export_graphs, jobs
from aepipe.workshop.training.finish import reconstruction
from aepipe.workshop.training.model import build, fit_closed_forms
from aepipe_builtins import pca
from aepipe_builtins.networks import conv_plan
from torch import nn

ENCODERS = ("conv", "mlp:hidden=32", "pca")
DECODERS = ("deconv", "upsample", "upsample:mode=bilinear", "mlp:hidden=32", "pca")
SHAPES = ((1, 28, 28), (3, 32, 32), (1, 17, 23), (1, 8, 8), (3, 5, 64))


def pair(encoder: str, decoder: str, shape=(1, 28, 28), latent: int = 3, objective: str = "mse"):
    torch.manual_seed(0)
    return build({"encoder": encoder, "decoder": decoder, "objective": objective}, shape, latent, 0.4, 0.3)


@pytest.mark.parametrize(("encoder", "decoder"), product(ENCODERS, DECODERS))
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
def test_every_pair_takes_a_step_at_every_shape(encoder: str, decoder: str, shape: tuple[int, int, int]):
    model = pair(encoder, decoder, shape)
    images = torch.rand(6, *shape)
    fit_closed_forms(model, [model.standardise(images[:4]), model.standardise(images[4:])])
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert bool(trained) == ((encoder, decoder) != ("pca", "pca"))
    for batch in (images, images[:1]):
        loss = model.losses(batch, batch)["loss"]
        assert loss.shape == () and torch.isfinite(loss)
        if trained:
            model.zero_grad()
            loss.backward()
            assert all(parameter.grad is not None for parameter in trained)
            with torch.no_grad():
                for parameter in trained:
                    parameter -= 1e-6 * parameter.grad.sign()
            assert model.losses(batch, batch)["loss"] < loss
        codes = model.encode(batch)
        assert codes.shape == (len(batch), 3)
        output = model.decode(codes)
        assert output.shape == batch.shape
        assert output.min() >= 0 and output.max() <= 1


def test_conv_at_28_is_the_lectures_net():
    model = pair("conv", "deconv", latent=8)
    encoder = [layer for layer in model.encoder if isinstance(layer, nn.Conv2d)]
    sizes = [(layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride) for layer in encoder]
    assert sizes == [
        (1, 32, (5, 5), (1, 1)),
        (32, 32, (5, 5), (1, 1)),
        (32, 32, (4, 4), (2, 2)),
        (32, 32, (3, 3), (2, 2)),
        (32, 8, (4, 4), (1, 1)),
    ]
    assert [type(layer) for layer in model.encoder] == [nn.Conv2d, nn.ReLU] * 4 + [nn.Conv2d, nn.Flatten]
    decoder = [layer for layer in model.decoder if isinstance(layer, nn.ConvTranspose2d)]
    mirrored = [(layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride) for layer in decoder]
    assert mirrored == [(out, into, kernel, stride) for into, out, kernel, stride in reversed(sizes)]
    assert all(layer.output_padding == (0, 0) for layer in decoder)
    assert [type(layer) for layer in model.decoder[1:]] == [nn.ConvTranspose2d, nn.ReLU] * 4 + [nn.ConvTranspose2d]
    heights = [28]
    maps = torch.zeros(1, 1, 28, 28)
    for layer in encoder:
        maps = layer(maps)
        heights.append(maps.shape[2])
    assert heights == [28, 24, 20, 9, 4, 1]


@pytest.mark.parametrize("side", [*range(1, 40), 64, 96, 127, 224, 513])
def test_the_last_convolution_stays_small(side: int):
    *_, (_, _, rest) = conv_plan(side, side)
    assert min(rest) >= 1 and max(rest) <= max(9, min(side, 9))


@pytest.mark.parametrize(
    ("kind", "spec", "arguments", "said"),
    [
        ("encoder", "conv:channels=0", ((1, 28, 28), 4), "channels must be at least 1"),
        ("encoder", "mlp:hidden=8/0", ((1, 28, 28), 4), "hidden"),
        ("encoder", "pca", ((1, 2, 2), 5), "5 components"),
        ("decoder", "upsample:mode=cubic", (4, (1, 28, 28)), "mode"),
        ("decoder", "deconv:chanels=3", (4, (1, 28, 28)), "channels"),
        ("objective", "vae:beta=-1", (4,), "beta"),
        ("density", "pca:components=5", (4,), "components=5"),
        ("density", "pca:components=-1", (4,), "components=-1"),
        ("corruption", "gaussian:sigma=-1", (), "sigma"),
        ("corruption", "gaussian:sigma=nan", (), "finite"),
        ("corruption", "erase:p=1.5", (), "p must"),
        ("corruption", "saltpepper:amount=-0.1", (), "amount"),
        ("corruption", "block:size=0", (), "size"),
        ("corruption", "downsample:factor=0", (), "factor"),
    ],
)
def test_options_out_of_range(kind: str, spec: str, arguments: tuple, said: str):
    with pytest.raises(BadInput) as caught:
        plugins.create(kind, spec, *arguments)
    assert said in str(caught.value) and caught.value.hint


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


def test_pca_on_mnist_is_as_good_as_pca_can_be(data_folder, tmp_path):
    known = {2: 0.05547, 4: 0.04737, 8: 0.03641, 16: 0.02538, 32: 0.01521}
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
    assert "--objective mse" in caught.value.hint


def test_pca_decoder_beside_a_trained_encoder_trains():
    model = pair("mlp:hidden=16", "pca", (1, 8, 8))
    assert not fit_closed_forms(model, [torch.zeros(2, 1, 8, 8)])
    assert all(parameter.requires_grad for parameter in model.decoder.parameters())


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


# Densities


def codes_of(count: int = 2000, latent: int = 4) -> torch.Tensor:
    rng = np.random.default_rng(1)
    mixing = rng.standard_normal((latent, latent))
    return torch.from_numpy((rng.standard_normal((count, latent)) @ mixing + 3).astype(np.float32))


def fitted(spec: str, codes: torch.Tensor):
    density = plugins.create("density", spec, codes.shape[1])
    density.fit(codes)
    return density


@pytest.mark.parametrize("spec", ["gaussian", "pca", "pca:components=2", "pca:components=0"])
def test_densities_agree_with_torchs_own(spec: str):
    codes = codes_of()
    density = fitted(spec, codes)
    covariance = torch.cov(codes.double().T, correction=0)
    if spec == "gaussian":
        covariance = covariance.diag().diag()
    elif spec != "pca":
        kept = int(spec[-1])
        variances, axes = torch.linalg.eigh(covariance)
        variances[: 4 - kept] = variances[: 4 - kept].mean()
        covariance = axes @ variances.diag() @ axes.T
    reference = torch.distributions.MultivariateNormal(codes.double().mean(0), covariance)
    here = density.log_prob(codes[:50])
    assert here.shape == (50,) and here.dtype == torch.float32
    torch.testing.assert_close(here.double(), reference.log_prob(codes[:50].double()), atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(density.sample(density.noise(codes[:50])), codes[:50], atol=1e-4, rtol=1e-4)
    noise = torch.randn(20_000, density.noise_features, generator=torch.Generator().manual_seed(0))
    drawn = density.sample(noise).double()
    torch.testing.assert_close(torch.cov(drawn.T), covariance, atol=0.2, rtol=0.05)
    torch.testing.assert_close(drawn.mean(0), codes.double().mean(0), atol=0.1, rtol=0)


def test_all_components_beat_fewer_and_the_diagonal():
    codes = codes_of()
    best, *others = (
        float(fitted(spec, codes).log_prob(codes).mean())
        for spec in ("pca", "pca:components=2", "pca:components=1", "pca:components=0", "gaussian")
    )
    assert others[:3] == sorted(others[:3], reverse=True)
    assert all(best > other for other in others)


@pytest.mark.parametrize("spec", ["gaussian", "pca", "pca:components=2"])
@pytest.mark.parametrize("dead", ["one direction", "all", "a single code"])
def test_dead_directions_stay_finite(spec: str, dead: str, tmp_path):
    codes = codes_of(300, 6)
    if dead == "one direction":
        codes[:, 2] = 7.0
        codes[:, 4] = codes[:, 3]
    elif dead == "all":
        codes[:] = codes[0]
    else:
        codes = codes[:1]
    density = fitted(spec, codes).eval()
    assert torch.isfinite(density.log_prob(codes)).all()
    assert torch.isfinite(density.noise(codes)).all()
    assert torch.isfinite(density.sample(torch.randn(5, 6))).all()


@pytest.mark.parametrize("spec", ["gaussian", "pca"])
def test_dead_directions_export_within_the_tolerance(spec: str, tmp_path):
    """What the gate allows, |a − b| ≤ 1e-4·max(1, |a|), must hold where a variance is at its floor."""
    from aepipe.runtime.providers import provider

    codes = codes_of(3000, 16)
    codes[:, 5:] = codes[:, :11] @ torch.randn(11, 11, generator=torch.Generator().manual_seed(2))
    codes[:, 3] = 20.0
    density = fitted(spec, codes).eval()
    todo = [job for job in jobs(pair("pca", "pca"), {spec: (density, {})}, (1, 28, 28), 16) if job.graph.density]
    export_graphs(todo, tmp_path, {}, lowered=True)
    for job in todo:
        values = codes if job.graph.role != "sample" else torch.randn(3000, 16)
        session = provider("cpu").open(tmp_path / job.graph.file)
        (got,) = session.run(dict.fromkeys(job.graph.inputs, values.numpy())).values()
        expected = getattr(density, job.method)(values).numpy()
        assert float((np.abs(got - expected) / np.maximum(1, np.abs(expected))).max()) <= 1e-4, job.graph.role


# Corruptions


CORRUPTIONS = (
    "gaussian",
    "gaussian:sigma=0",
    "saltpepper",
    "erase",
    "block",
    "block:size=99",
    "downsample",
    "downsample:factor=5",
    "mixed",
    'mixed:of="gaussian:sigma=1;erase:p=1"',
)


def test_mixed_spoils_each_image_in_one_way():
    images = np.full((400, 1, 4, 4), 0.5, np.float32)
    corrupt = plugins.create("corruption", 'mixed:of="gaussian:sigma=0;erase:p=1"')
    spoiled = corrupt(images, np.random.default_rng(0))
    erased = (spoiled == 0).all((1, 2, 3))
    assert 150 < erased.sum() < 250 and (spoiled[~erased] == 0.5).all()
    with pytest.raises(aepipe.BadInput, match="gausian"):
        plugins.create("corruption", "mixed:of=gausian")


@pytest.mark.parametrize("spec", CORRUPTIONS)
@pytest.mark.parametrize("shape", [(5, 1, 28, 28), (2, 3, 7, 10), (1, 1, 1, 1)])
def test_corruptions_keep_range_shape_and_input(spec: str, shape: tuple[int, ...]):
    corrupt = plugins.create("corruption", spec)
    images = np.random.default_rng(0).random(shape, dtype=np.float32)
    before = images.copy()
    spoiled = corrupt(images, np.random.default_rng(3))
    assert spoiled.shape == shape and spoiled.dtype == np.float32
    assert spoiled.min() >= 0 and spoiled.max() <= 1
    assert np.array_equal(images, before) and not np.shares_memory(images, spoiled)
    assert np.array_equal(spoiled, corrupt(images, np.random.default_rng(3)))


def grey(count: int = 200) -> np.ndarray:
    return np.full((count, 3, 20, 20), 0.5, np.float32)


def test_what_each_corruption_does():
    rng = np.random.default_rng(0)
    noise = plugins.create("corruption", "gaussian:sigma=0.1")(grey(), rng) - 0.5
    assert noise.std() == pytest.approx(0.1, rel=0.02) and abs(noise.mean()) < 0.002
    salted = plugins.create("corruption", "saltpepper:amount=0.3")(grey(), rng)
    assert (salted == 0).mean() == pytest.approx(0.15, abs=0.01) == (salted == 1).mean()
    erased = plugins.create("corruption", "erase:p=0.7")(grey(), rng)
    assert (erased == 0).mean() == pytest.approx(0.7, abs=0.01)
    for image in (*salted[:5], *erased[:5]):
        assert np.array_equal(image[0], image[1])  # a pixel goes in all its channels
    holes = plugins.create("corruption", "block:size=6")(grey(), rng) == 0
    assert (holes.sum((2, 3)) == 36).all() and len({tuple(np.argwhere(hole[0])[0]) for hole in holes}) > 50


def test_downsampling_averages_also_at_the_edge():
    image = np.arange(15, dtype=np.float32).reshape(1, 1, 3, 5) / 14
    small = plugins.create("corruption", "downsample:factor=2")(image, np.random.default_rng(0))
    assert small[0, 0, 0, 0] == pytest.approx(image[0, 0, :2, :2].mean()) == small[0, 0, 1, 1]
    assert small[0, 0, 2, 4] == pytest.approx(image[0, 0, 2, 4])
    assert small[0, 0, 0, 4] == pytest.approx(image[0, 0, :2, 4].mean())
