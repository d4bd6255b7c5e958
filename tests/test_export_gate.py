"""What keeps a wrong bundle from being written, and modules that were trained without aepipe."""

from __future__ import annotations

import aepipe
import numpy as np
import pytest
import torch
from aepipe import hookimpl, plugins
from aepipe.errors import BadInput, ParityError
from aepipe.workshop.run import Run
from exporting import SMALL, contents, images, manifest_of, refused
from torch import nn


@pytest.fixture
def register():
    added = []

    def add(plugin_object: object, name: str) -> None:
        added.append(plugins.registry().register(plugin_object, name))

    yield add
    for plugin in added:
        plugins.registry().unregister(plugin)


# The gate


class Identity(nn.Module):
    def forward(self, value):
        return value


def encoder_of(middle: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), middle, nn.Linear(64, 3))


def decoder_of(middle: nn.Module) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 64), middle, nn.Unflatten(1, (1, 8, 8)))


class Noisy(nn.Module):
    def forward(self, value):
        return value + torch.rand_like(value)


class BatchMean(nn.Module):
    def forward(self, value):
        return value - value.mean(0, keepdim=True)


class TracedOtherwise(nn.Module):
    def forward(self, value):
        return value * 1.01 if torch.compiler.is_exporting() else value


@pytest.mark.parametrize(
    ("where", "middle"), [("decoder", Noisy()), ("encoder", BatchMean()), ("decoder", TracedOtherwise())]
)
def test_graphs_that_differ_from_torch_are_not_written(tmp_path, where: str, middle: nn.Module):
    parts = (
        encoder_of(middle if where == "encoder" else Identity()),
        decoder_of(middle if where == "decoder" else Identity()),
    )
    (tmp_path / "parent").mkdir()
    with pytest.raises(ParityError) as caught:
        aepipe.export_modules(*parts, images(), tmp_path / "parent" / "new" / "out", show=False)
    assert caught.value.exit_code == 3 and "no bundle was written" in caught.value.hint
    assert ("latent" if where == "encoder" else "image") in caught.value.message
    assert not list((tmp_path / "parent").iterdir())


class Drifts(nn.Module):
    """A density whose exported log_prob is not its own."""

    def __init__(self, latent: int):
        super().__init__()
        self.noise_features = latent

    def fit(self, codes):
        pass

    def sample(self, noise):
        return noise

    def log_prob(self, codes):
        shift = 0.1 if torch.compiler.is_exporting() else 0.0
        return -codes.square().sum(1) + shift


class Branches(Drifts):
    """A density that no graph can hold."""

    def log_prob(self, codes):
        return codes.sum(1) if float(codes.sum()) > 0 else codes.prod(1)


class Bad:
    @hookimpl
    def register_densities(self, register):
        register(lambda latent: Drifts(latent), name="drifts")
        register(lambda latent: Branches(latent), name="branches")


def test_a_density_that_differs_leaves_the_old_bundle(tmp_path, register, capsys):
    register(Bad(), "bad")
    out = aepipe.fit(images(), out=tmp_path / "run", **SMALL, densities=[]).export(tmp_path / "out", show=False)
    before = contents(out)
    Run(tmp_path / "run").fit_density("drifts")
    said = refused(capsys, "export", tmp_path / "run", "-o", out, code=3)
    assert "drifts/log_prob differs from torch by 0.1" in said or "drifts/log_prob differs" in said
    Run(tmp_path / "run").fit_density("drifts=branches")
    said = refused(capsys, "export", tmp_path / "run", "-o", out, code=1)
    assert "density/drifts/log_prob.onnx cannot be exported" in said
    assert contents(out) == before and sorted(path.name for path in tmp_path.iterdir()) == ["out", "run"]


# Modules that were trained without aepipe


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, stride=2)
        self.norm = nn.BatchNorm2d(4)
        self.last = nn.Linear(36, 3)

    def forward(self, images):
        return self.last(torch.relu(self.norm(self.conv(images))).flatten(1))


def test_modules_of_any_kind_become_a_bundle(tmp_path):
    encoder, decoder = Net().train(), decoder_of(nn.Dropout(0.5)).train()
    state = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    out = aepipe.export_modules(
        encoder,
        decoder,
        images(600),
        tmp_path / "theirs",
        mean=0.5,
        std=0.25,
        densities=("pca", "few=pca:components=1"),
        show=False,
    )
    assert encoder.training and decoder.training and all(each.requires_grad for each in encoder.parameters())
    assert all(torch.equal(state[name], tensor) for name, tensor in encoder.state_dict().items())
    values = torch.from_numpy(images(600)[:9].astype(np.float32) / 255)
    encoder.eval(), decoder.eval()
    with torch.no_grad():
        codes = encoder((values - 0.5) / 0.25)
        restored = (decoder(codes) * 0.25 + 0.5).clamp(0, 1)
    with aepipe.load(out, "cpu") as model:
        np.testing.assert_allclose(model.encode(values.numpy()), codes.numpy(), atol=1e-4)
        np.testing.assert_allclose(model.reconstruct(values.numpy()), restored.numpy(), atol=1e-5)
        assert model.sample(5, density="few").shape == (5, 1, 8, 8)
        assert np.isfinite(model.score(images(600)[:9])["log_density"]).all()
    m = manifest_of(out)
    assert m["components"]["encoder"]["name"] == "Net" and m["densities"] == ["pca", "few"]
    assert m["metrics"]["count"] == 256 and m["trained"]["images"] == 600
    with np.load(out / "codes.npz") as arrays:
        assert arrays["codes"].shape == (600, 3)
    assert "`Net`" in (out / "README.md").read_text()


class Pair(nn.Module):
    def forward(self, value):
        return value.flatten(1), value


@pytest.mark.parametrize(
    ("encoder", "decoder", "options", "said"),
    [
        (nn.Identity(), nn.Identity(), {}, r"became codes \[80, 1, 8, 8\]"),
        (nn.Flatten(), nn.Identity(), {}, r"images \[80, 64\]"),
        (nn.Linear(9, 3), nn.Identity(), {}, "do not run on images"),
        (Pair(), nn.Identity(), {}, "do not run on images"),
        (nn.Flatten(), nn.Unflatten(1, (1, 8, 8)), {"std": 0.0}, "standard deviation 0.0"),
        (nn.Flatten(), nn.Unflatten(1, (1, 8, 8)), {"mean": float("nan")}, "mean nan"),
        (nn.Flatten(), nn.Unflatten(1, (1, 8, 8)), {"densities": ["gausian"]}, "unknown density"),
        (nn.Flatten(), nn.Unflatten(1, (1, 8, 8)), {"densities": ["pca", "pca"]}, "2 densities are called 'pca'"),
        (nn.Flatten(), nn.Unflatten(1, (1, 8, 8)), {"densities": "pca:components=65"}, "components=65"),
    ],
)
def test_modules_that_are_refused(tmp_path, encoder: nn.Module, decoder: nn.Module, options: dict, said: str):
    with pytest.raises(BadInput, match=said) as caught:
        aepipe.export_modules(encoder, decoder, images(), tmp_path / "out", show=False, **options)
    assert caught.value.hint and not list(tmp_path.iterdir())


def test_weights_that_are_not_finite_are_refused(tmp_path):
    encoder = encoder_of(Identity())
    with torch.no_grad():
        encoder[2].bias[0] = torch.nan
    with pytest.raises(BadInput, match="NaN"):
        aepipe.export_modules(encoder, decoder_of(Identity()), images(), tmp_path / "out", show=False)
