"""The decoder `unet` restores samples of any size, with one, two and three sides."""

from __future__ import annotations

import json
from pathlib import Path

import aepipe
import numpy as np
import pytest
import torch
from aepipe import plugins
from aepipe.errors import BadInput
from aepipe.space import Size
from torch.nn import functional

from tests.helpers.networks import pair

SMALL = "unet:channels=8,levels=2"


@pytest.mark.parametrize("sides", [(16,), (8, 12), (4, 8, 4)])
def test_it_keeps_any_sides_that_are_multiples(sides: tuple[int, ...]) -> None:
    network = plugins.create("decoder", SMALL, Size(2, *sides), (2, *sides))
    assert network.multiple == 4
    for larger in (sides, tuple(side + 4 for side in sides)):
        assert network(torch.randn(3, 2, *larger)).shape == (3, 2, *larger)


def test_it_is_at_first_the_identity() -> None:
    samples = torch.randn(2, 1, 16, 16)
    assert torch.equal(plugins.create("decoder", "unet", Size(1, 16, 16), (1, 16, 16))(samples), samples)


def test_the_first_convolution_is_one_of_unshuffled_pixels() -> None:
    """What its docstring says: 6 pixels at stride 2 are 3 of squares."""
    network = plugins.create("decoder", "unet:channels=4", Size(1, 16, 16), (1, 16, 16))
    samples, head = torch.randn(2, 1, 16, 16), network.head
    weights = functional.pixel_unshuffle(head.weight, 2)
    expected = functional.conv2d(functional.pixel_unshuffle(samples, 2), weights, head.bias, padding=1)
    torch.testing.assert_close(head(samples), expected)


@pytest.mark.trains
def test_it_denoises_and_its_bundle_holds_no_training_images(tmp_path: Path, call) -> None:
    rng = np.random.default_rng(0)
    clean = np.kron(rng.random((200, 1, 2, 2), np.float32), np.ones((1, 1, 8, 8), np.float32))  # even areas
    options = {"encoder": "identity", "decoder": SMALL, "latent_dim": "image", "corrupt": "gaussian:sigma=0.1"}
    run = aepipe.fit(clean, **options, epochs=3, batch_size=10, lr=3e-3, out=tmp_path / "run", show=False)
    metrics = run.config["metrics"]
    assert metrics["mse"] < metrics["mse_input"] / 2
    bundle = run.export(tmp_path / "bundle", show=False)
    assert not (bundle / "codes.npz").exists()
    with aepipe.load(bundle, "cpu") as model:
        large = rng.random((1, 1, 21, 30), np.float32)
        assert model.reconstruct(large).shape == large.shape
        with pytest.raises(BadInput, match="keeps no codes"):
            model.bundle.codes()
        large = model.encode(large)
        assert large.shape == (1, 1, 24, 32) and model.decode(large).shape == large.shape
    np.save(tmp_path / "clean.npy", clean[:3])
    evaluated = call("eval", bundle, "--data", tmp_path / "clean.npy", "--provider", "cpu", "--json")
    assert json.loads(evaluated.out)["bits_per_pixel"]["float32"] == 32, "a code that is the image"
    assert call("fit-density", run.directory, "pca").code == 2
    outcome = call("benchmark", bundle, "--seconds", "0.05", "--batch-size", 1, "--json")
    assert outcome.code == 0, outcome


@pytest.mark.trains
def test_charbonnier_is_the_absolute_error_for_small_epsilon() -> None:
    model = pair("mlp", "mlp", (1, 4, 4), 2)
    samples = torch.randn(5, 1, 4, 4)
    features = model.encoder(samples)
    absolute = (model.decoder(features) - samples).abs().sum() / 5
    for epsilon in (0.0, 1e-5):
        objective = plugins.create("objective", f"charbonnier:epsilon={epsilon}", 2)
        torch.testing.assert_close(objective.losses(features, model.decoder, samples)["loss"], absolute)
