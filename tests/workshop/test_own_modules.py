"""Torch modules of the user's own in the place of plugins: trained, exported at once, and asked for again by a saved run."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import aepipe
import numpy as np
import pytest
import torch
from aepipe.errors import BadInput
from torch import nn

from tests.helpers.commands import refused
from tests.helpers.images import blobs
from tests.helpers.networks import linear

SHAPE = (1, 8, 8)
QUICK: dict[str, Any] = {"epochs": 1, "device": "cpu", "precision": "fp32", "show": False}


class Tied(nn.Module):
    """The transposed matrix of an encoder."""

    def __init__(self, layer: nn.Linear):
        super().__init__()
        self.layer = layer

    def forward(self, codes):
        return (codes @ self.layer.weight).unflatten(1, SHAPE)


def tensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(path)


@pytest.fixture(scope="module")
def tied() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval().requires_grad_(True)
    return encoder, Tied(encoder[1])


@pytest.fixture(scope="module")
def own(tied, tmp_path_factory) -> aepipe.Run:
    encoder, decoder = tied
    out = tmp_path_factory.mktemp("own") / "run"
    return aepipe.fit(blobs(), encoder=encoder, decoder=decoder, densities="gaussian", out=out, **QUICK)


@pytest.mark.trains
def test_copies_are_trained_and_what_two_modules_share_stays_shared(own, tied) -> None:
    before = copy.deepcopy(tied[0].state_dict())
    trained = own.model()
    assert own.latent.shape == (3,) and own.config["components"]["encoder"]["name"] == "Sequential"
    assert trained.encoder[1].weight is trained.decoder.layer.weight
    assert not torch.equal(trained.encoder[1].weight, tied[0][1].weight)
    assert all(torch.equal(before[name], value) for name, value in tied[0].state_dict().items())
    assert not tied[0].training and tied[0][1].weight.requires_grad


@pytest.mark.trains
def test_a_bundle_right_after_fit_computes_what_the_modules_do(own, tmp_path) -> None:
    model = aepipe.load(own.export(tmp_path / "bundle", show=False), "cpu")
    trained, images = own.model(), blobs(5)
    with torch.no_grad():
        codes = trained.encode(torch.from_numpy(images).float() / 255)
    np.testing.assert_allclose(model.encode(images), codes, atol=1e-5)
    assert model.bundle.manifest.components["encoder"]["plugin"] is None


@pytest.mark.trains
def test_a_saved_run_says_what_it_can_do_without_the_modules(own, tied, tmp_path, capsys) -> None:
    again = aepipe.Run(own.directory)
    assert (
        repr(again)
        == f"<Run {str(own.directory)!r}: images 1×8×8, code 3, densities gaussian; MSE {own.metrics['mse']:.5g}>"
    )
    assert again.metrics == own.metrics and again.codes()[0].shape == (72, 3)
    assert again.fit_density("wide=gaussian") == "wide"
    for attempt in (again.model, again.export, lambda: aepipe.resume(own.directory, blobs(), epochs=2)):
        with pytest.raises(BadInput, match="the encoder Sequential and the decoder Tied of your own") as caught:
            attempt()
        assert f"aepipe.Run({str(own.directory)!r}, encoder=…, decoder=…)" in caught.value.hint
    assert "of your own" in refused(capsys, "export", own.directory, "-o", tmp_path / "bundle")
    whole = aepipe.Run(own.directory, encoder=tied[0], decoder=tied[1])
    assert torch.equal(whole.model().encoder[1].weight, own.model().encoder[1].weight)


@pytest.mark.trains
def test_a_resumed_run_ends_where_one_training_ends(own, tied, tmp_path) -> None:
    encoder, decoder = tied
    modules = {"encoder": encoder, "decoder": decoder}
    whole = aepipe.fit(blobs(), **modules, densities="gaussian", out=tmp_path / "whole", **{**QUICK, "epochs": 2})
    run = aepipe.fit(blobs(), **modules, densities="gaussian", out=tmp_path / "run", **QUICK)
    again = aepipe.resume(run.directory, blobs(), epochs=2, show=False, **modules)
    assert again.metrics == aepipe.resume(run, blobs(), epochs=2, show=False).metrics  # which is finished
    found, expected = (tensors(each.directory / "last.safetensors") for each in (again, whole))
    assert found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in found)


@pytest.mark.trains
def test_a_module_beside_a_plugin_and_maps(tmp_path, capsys) -> None:
    encoder = nn.Conv2d(1, 2, 4, stride=4)
    run = aepipe.fit(
        blobs(), encoder=encoder, decoder=nn.ConvTranspose2d(2, 1, 4, stride=4), out=tmp_path / "maps", **QUICK
    )
    assert run.latent.shape == (2, 2, 2)
    with pytest.raises(BadInput, match="makes codes of 2×2×2, and 7 are asked for") as caught:
        aepipe.fit(blobs(), encoder=encoder, latent_dim=7, out=tmp_path / "seven", **QUICK)
    assert caught.value.hint == "leave out latent_dim"
    settings = {**QUICK, "show": True}
    run = aepipe.fit(blobs(), encoder=linear(3, SHAPE)[0], decoder="mlp:hidden=8", out=tmp_path / "run", **settings)
    assert f"aepipe.Run({str(run.directory)!r}, encoder=…)" in " ".join(capsys.readouterr().err.split())
    assert run.missing == [] and aepipe.Run(run.directory).missing == ["encoder"]
    run.export(tmp_path / "bundle", show=False)


def test_a_module_without_layers_is_the_identity(tmp_path) -> None:
    decoder = nn.Conv2d(1, 1, 3, padding=1)
    run = aepipe.fit(blobs(20), encoder=nn.Sequential(), decoder=decoder, epochs=1, out=tmp_path / "run", show=False)
    assert run.latent.shape == run.shape and run.config["components"]["encoder"]["name"] == "Sequential"


def test_what_is_no_module_that_can_be_trained_is_refused_before_any_work(tmp_path) -> None:
    class Uncopied(nn.Flatten):
        def __deepcopy__(self, memo):
            raise RuntimeError("there is only one of me")

    cases: list[tuple[dict[str, Any], str]] = [
        ({"encoder": nn.Flatten}, "is the class Flatten"),
        ({"encoder": len}, "is a builtin_function_or_method, not a torch module"),
        ({"encoder": nn.LazyLinear(3)}, "lazy layers"),
        ({"encoder": Uncopied()}, "cannot be copied: RuntimeError: there is only one of me"),
        ({"encoder": nn.Linear(3, 3)}, r"the encoder Linear failed on \[2, 1, 8, 8\]"),
        ({"decoder": nn.Linear(8, 3)}, r"the decoder Linear made \[2, 3\] of \[2, 8\], \[2, 1, 8, 8\] is needed"),
        ({"encoder": nn.Flatten(0)}, r"made \[128\] of \[2, 1, 8, 8\], where codes"),
        ({"encoder": nn.GRU(8, 8)}, "."),
        ({"encoder": linear(3, SHAPE)[0], "objective": "vae"}, "makes 3 features, and the objective takes 2"),
    ]
    for given, message in cases:
        with pytest.raises(BadInput, match=message) as caught:
            aepipe.fit(blobs(), out=tmp_path / "run", **QUICK, **given)
        assert caught.value.hint, given
    assert not (tmp_path / "run").exists()


@pytest.mark.trains
def test_only_modules_like_those_that_were_trained_are_taken(own, digits_run) -> None:
    for modules, message in (
        ({"encoder": nn.Flatten()}, "was trained with the encoder Sequential, and this is a Flatten"),
        ({"encoder": "conv"}, "is a str, not a torch module"),
    ):
        with pytest.raises(BadInput, match=message):
            aepipe.Run(own.directory, **modules)
    with pytest.raises(BadInput, match="of aepipe, no module of your own"):
        aepipe.Run(digits_run.directory, encoder=nn.Flatten())
    wide, decoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 5)), Tied(nn.Linear(64, 3))
    with pytest.raises(BadInput, match=r"the encoder Sequential made \[2, 5\]"):
        aepipe.Run(own.directory, encoder=wide, decoder=decoder).model()
    deep = nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.Linear(3, 3))
    with pytest.raises(BadInput, match="does not fit its saved tensors") as caught:
        aepipe.Run(own.directory, encoder=deep, decoder=decoder).model()
    assert caught.value.hint == "give modules like those that were trained"
