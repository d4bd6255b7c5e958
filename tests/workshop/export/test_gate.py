"""What keeps a wrong bundle from being written."""

from __future__ import annotations

import aepipe
import pytest
import torch
from aepipe import hookimpl
from aepipe.errors import ParityError
from aepipe.workshop.run import Run
from torch import nn

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


class Bad:
    @hookimpl
    def register_densities(self, register):
        register(lambda latent: Drifts(latent), name="drifts")
        register(lambda latent: Branches(latent), name="branches")


@pytest.mark.slow
def test_a_density_that_differs_leaves_the_old_bundle(tmp_path, register, capsys):
    register(Bad(), "bad")
    out = aepipe.fit(blobs(), out=tmp_path / "run", **SMALL, densities=[]).export(tmp_path / "out", show=False)
    before = contents(out)
    Run(tmp_path / "run").fit_density("drifts")
    said = refused(capsys, "export", tmp_path / "run", "-o", out, code=3)
    assert "drifts/log_prob differs from torch by 0.1" in said or "drifts/log_prob differs" in said
    Run(tmp_path / "run").fit_density("drifts=branches")
    said = refused(capsys, "export", tmp_path / "run", "-o", out, code=1)
    assert "density/drifts/log_prob.onnx cannot be exported" in said
    assert contents(out) == before and sorted(path.name for path in tmp_path.iterdir()) == ["out", "run"]
