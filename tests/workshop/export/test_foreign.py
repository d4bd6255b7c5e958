"""Modules that were trained without aepipe."""

from __future__ import annotations

import json

import aepipe
import numpy as np
import pytest
import torch
from aepipe.bundle.manifest import tensor
from aepipe.errors import AepipeError, BadInput
from aepipe.workshop.export.to_onnx import Job, export_graphs, learned_graph
from torch import nn

from tests.helpers.bundles import manifest_of
from tests.helpers.images import blobs
from tests.helpers.networks import Identity, decoder_of, encoder_of

# Modules that were trained without aepipe


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, stride=2)
        self.norm = nn.BatchNorm2d(4)
        self.last = nn.Linear(36, 3)

    def forward(self, images):
        return self.last(torch.relu(self.norm(self.conv(images))).flatten(1))


@pytest.mark.trains
def test_modules_of_any_kind_become_a_bundle(tmp_path):
    encoder, decoder = Net().train(), decoder_of(nn.Dropout(0.5)).train()
    state = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    out = aepipe.export_modules(
        encoder,
        decoder,
        blobs(600),
        tmp_path / "theirs",
        mean=0.5,
        std=0.25,
        densities=("pca", "few=pca:components=1"),
        show=False,
    )
    assert encoder.training and decoder.training and all(each.requires_grad for each in encoder.parameters())
    assert all(torch.equal(state[name], tensor) for name, tensor in encoder.state_dict().items())
    values = torch.from_numpy(blobs(600)[:9].astype(np.float32) / 255)
    encoder.eval(), decoder.eval()
    with torch.no_grad():
        codes = encoder((values - 0.5) / 0.25)
        restored = (decoder(codes) * 0.25 + 0.5).clamp(0, 1)
    with aepipe.load(out, "cpu") as model:
        np.testing.assert_allclose(model.encode(values.numpy()), codes.numpy(), atol=1e-4)
        np.testing.assert_allclose(model.reconstruct(values.numpy()), restored.numpy(), atol=1e-5)
        assert model.sample(5, density="few").shape == (5, 1, 8, 8)
        assert np.isfinite(model.score(blobs(600)[:9])["log_density"]).all()
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
        (nn.Flatten(), nn.Identity(), {}, r"images \[2, 64\]"),
        (nn.Linear(9, 3), nn.Identity(), {}, r"the encoder does not run on \[2, 1, 8, 8\]"),
        (Pair(), nn.Identity(), {}, "the encoder gives a tuple"),
        (nn.Flatten(), nn.Unflatten(1, (1, 8, 8)), {"std": 0.0}, "standard deviation 0.0"),
        (nn.Flatten(), nn.Unflatten(1, (1, 8, 8)), {"mean": float("nan")}, "mean nan"),
        (nn.Flatten(), nn.Unflatten(1, (1, 8, 8)), {"densities": ["gausian"]}, "unknown density"),
        (nn.Flatten(), nn.Unflatten(1, (1, 8, 8)), {"densities": ["pca", "pca"]}, "2 densities are called 'pca'"),
        (nn.Flatten(), nn.Unflatten(1, (1, 8, 8)), {"densities": "pca:components=65"}, "components=65"),
    ],
)
def test_modules_that_are_refused(tmp_path, encoder: nn.Module, decoder: nn.Module, options: dict, said: str):
    with pytest.raises(BadInput, match=said) as caught:
        aepipe.export_modules(encoder, decoder, blobs(), tmp_path / "out", show=False, **options)
    assert caught.value.hint and not list(tmp_path.iterdir())


def test_weights_that_are_not_finite_are_refused(tmp_path):
    encoder = encoder_of(Identity())
    with torch.no_grad():
        encoder[2].bias[0] = torch.nan
    with pytest.raises(BadInput, match="NaN"):
        aepipe.export_modules(encoder, decoder_of(Identity()), blobs(), tmp_path / "out", show=False)


class CountsInPython(nn.Module):
    """A network that makes a Python number of the size of the batch, which torch.export takes for a constant."""

    def __init__(self, way):
        super().__init__()
        self.linear, self.way = nn.Linear(64, 3), way

    def forward(self, images):
        return self.way(self.linear, images)


@pytest.mark.trains
def test_a_batch_that_the_exporter_fixed_is_named_with_its_cause(tmp_path):
    encoder = CountsInPython(lambda linear, images: linear(images.reshape(len(images), -1)))
    with pytest.raises(
        AepipeError, match=r"encoder\.onnx cannot be exported: the encoder fixes the size of the batch"
    ) as caught:
        aepipe.export_modules(encoder, decoder_of(nn.ReLU()), blobs(20), tmp_path / "theirs", show=False)
    assert "len(x)" in caught.value.hint and "flatten(1)" in caught.value.hint
    assert not (tmp_path / "theirs").exists()


@pytest.mark.trains
def test_a_density_that_fixes_the_batch_is_left_out_alone(tmp_path):
    loops = CountsInPython(lambda linear, values: torch.stack([linear(each) for each in values]))
    whole = CountsInPython(lambda linear, values: linear(values))
    jobs = [
        Job(module, "forward", learned_graph("sample", tensor(64), tensor(3), label))
        for label, module in (("loops", loops), ("whole", whole))
    ]
    done, failed = export_graphs(jobs, tmp_path, {}, lowered=False)
    assert [job.graph.density for job in done] == ["whole"] and list(failed) == ["loops"]
    assert "CountsInPython fixes the size of the batch at 2" in failed["loops"]


@pytest.mark.trains
def test_what_is_restored_exactly_has_a_manifest_of_valid_json(tmp_path):
    out = aepipe.export_modules(Identity(), Identity(), blobs(40), tmp_path / "exact", densities=(), show=False)

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    metrics = json.loads((out / "manifest.json").read_text(), parse_constant=refuse)["metrics"]
    assert metrics["mse"] == 0 and "psnr" not in metrics  # it is infinite
