"""What keeps a wrong bundle from being written."""

from __future__ import annotations

import aepipe
import numpy as np
import pytest
import torch
from aepipe import cli as commands
from aepipe import hookimpl
from aepipe.errors import ParityError
from aepipe.workshop.export.gate import CODE_TOLERANCE
from aepipe.workshop.export.parity import judged_by
from aepipe.workshop.run import Run
from torch import nn

from tests.helpers.bundles import manifest_of
from tests.helpers.commands import refused
from tests.helpers.folders import contents
from tests.helpers.images import blobs
from tests.helpers.networks import Identity, decoder_of, encoder_of
from tests.helpers.settings import SMALL

pytestmark = pytest.mark.trains

# The gate


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
        aepipe.export_modules(*parts, blobs(), tmp_path / "parent" / "new" / "out", show=False)
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


class Stretched(nn.Module):
    """A density so ill-conditioned that float32 misses the tolerance; its exported graph may be wrong by more than that."""

    def __init__(self, latent: int, shift: float):
        super().__init__()
        self.noise_features, self.shift = latent, shift
        self.register_buffer("mean", torch.zeros(latent))

    def fit(self, codes):
        self.mean.copy_(codes.mean(0))

    def sample(self, noise):
        return self.mean + noise

    def log_prob(self, codes):
        far = 3e4 * (codes.sum(1) - self.mean.sum() + 1)  # cancels what the sums have in common
        return far - 3e4 + (self.shift * far.abs() if torch.compiler.is_exporting() else 0.0)


class Bad:
    @hookimpl
    def register_densities(self, register):
        register(lambda latent: Drifts(latent), name="drifts")
        register(lambda latent: Branches(latent), name="branches")
        register(lambda latent, *, shift=0.0: Stretched(latent, shift), name="stretched")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("drifts", "drifts/log_prob differs from torch by"),
        ("drifts=branches", "density/drifts/log_prob.onnx cannot be exported: GuardOnDataDependentSymNode"),
        ("drifts=stretched:shift=0.01", "drifts/log_prob differs from torch by"),
    ],
)
def test_a_density_that_differs_is_left_out(tmp_path, register, capsys, bad: str, said: str):
    register(Bad(), "bad")
    out = aepipe.fit(blobs(), out=tmp_path / "run", **SMALL).export(tmp_path / "out", show=False)
    graphs = {name: content for name, content in contents(out).items() if name.startswith("density")}
    Run(tmp_path / "run").fit_density(bad)
    found = refused(capsys, "export", tmp_path / "run", "-o", out, code=3)
    assert said in found and f"{out} was written without the density 'drifts'" in found and "--without" in found
    m = manifest_of(out)
    assert m["densities"] == ["gaussian", "pca"] == list(m["components"]["densities"])
    assert graphs.keys() == {name for name in contents(out) if name.startswith("density")}
    assert not any("drifts" in each for each in (*m["parity"], *(graph["file"] for graph in m["graphs"])))
    assert "drifts" not in (out / "README.md").read_text()
    assert aepipe.load(out, "cpu").sample(3).shape == (3, 1, 8, 8)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "run"]
    assert commands.run(["export", str(tmp_path / "run"), "-o", str(out), "--without", "drifts"]) == 0


def test_a_run_may_end_with_no_density_at_all(tmp_path, register):
    register(Bad(), "bad")
    run = aepipe.fit(blobs(), out=tmp_path / "run", **SMALL, densities=["drifts"])
    with pytest.raises(aepipe.DensityRefused, match="without the density 'drifts'"):
        run.export(tmp_path / "out", show=False)
    with aepipe.load(tmp_path / "out", "cpu") as model:
        assert model.bundle.densities == () and model.encode(blobs()).shape == (80, 2)


@pytest.mark.parametrize("density", ["gaussian", "pca", "gmm:components=2"])
@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (1e-6, 0.0), (1e4, 0.0), (1.0, 30.0)])
def test_a_density_is_judged_by_its_conditioning(tmp_path, density: str, scale: float, offset: float):
    """Codes with more numbers than images: most variances are at their floor, a millionth of the largest."""
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 96))
    decoder = nn.Sequential(nn.Linear(96, 64), nn.Unflatten(1, (1, 8, 8)))
    with torch.no_grad():
        encoder[1].weight *= scale
        encoder[1].bias.fill_(offset)
        decoder[0].weight /= max(scale, 1)
    out = aepipe.export_modules(encoder, decoder, blobs(), tmp_path / "out", densities=[density], show=False)
    assert manifest_of(out)["densities"] == [density.partition(":")[0]]


def test_the_tolerance_follows_float64():
    stretched = Stretched(8, 0.0)
    codes = np.random.default_rng(0).random((74, 8), dtype=np.float32) + 100
    stretched.fit(torch.from_numpy(codes))
    exact, tolerance = judged_by(stretched, "log_prob", codes)
    assert exact.dtype == np.float64 and CODE_TOLERANCE < tolerance < 0.1
    assert judged_by(Drifts(8), "log_prob", codes)[1] == pytest.approx(CODE_TOLERANCE, rel=0.1)
    far = codes + np.float32(1e6)  # there float32 has no digit left for the result, so that nothing is allowed for it
    stretched.fit(torch.from_numpy(far))
    assert judged_by(stretched, "log_prob", far)[1] == CODE_TOLERANCE
