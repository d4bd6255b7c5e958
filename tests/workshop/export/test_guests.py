"""Modules of other people: what is exported, what is refused in a sentence, and that none is changed."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import aepipe
import numpy as np
import pytest
import torch
from aepipe.errors import AepipeError, BadInput
from torch import nn

from tests.helpers.bundles import manifest_of
from tests.helpers.images import blobs
from tests.helpers.networks import Identity, decoder_of, encoder_of

IMAGES = blobs() / np.float32(255)


class Keeps(nn.Module):
    """Keeps its last activation, which cannot be copied."""

    def __init__(self, last: object = None):
        super().__init__()
        self.linear, self.last = nn.Linear(64, 3), last

    def forward(self, images):
        self.last = self.linear(images.flatten(1))
        return self.last


class Counts(nn.Module):
    """Counts its calls in a buffer, in place, and cannot be copied."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(64, 3)
        self.register_buffer("calls", torch.zeros(()))

    def __deepcopy__(self, memo):
        raise RuntimeError("no copies")

    def forward(self, images):
        if not torch.compiler.is_exporting():
            self.calls += 1
        return self.linear(images.flatten(1))


class Gives(nn.Module):
    """Gives whatever a function makes of codes."""

    def __init__(self, made: Callable):
        super().__init__()
        self.linear, self.made = nn.Linear(64, 3), made

    def forward(self, images):
        return self.made(self.linear(images.flatten(1)))


class Flow(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(64, 3)

    def forward(self, images):
        codes = self.linear(images.flatten(1))
        return codes * 2 if codes.sum() > 0 else codes


class Tied(nn.Module):
    """A decoder with the weight of an encoder."""

    def __init__(self, encoder: nn.Module):
        super().__init__()
        self.weight = encoder[2].weight

    def forward(self, codes):
        return (codes @ self.weight).unflatten(1, (1, 8, 8))


def with_hooks() -> nn.Module:
    encoder = encoder_of(Identity())
    encoder.register_forward_hook(lambda module, given, made: made * 2)
    encoder[2].register_forward_pre_hook(lambda module, given: (given[0] + 0.5,))
    return encoder


def old_norm(kind: Callable) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.Sequential(nn.Flatten(), kind(nn.Linear(64, 3)))


def compiled_inside() -> nn.Module:
    return nn.Sequential(torch.compile(nn.Flatten()), torch.compile(nn.Linear(64, 3)))


def compiled_in_place() -> nn.Module:
    encoder = encoder_of(Identity())
    encoder.compile()
    return encoder


def half_frozen() -> nn.Module:
    encoder = encoder_of(Identity()).train()
    encoder[2].weight.requires_grad_(False)
    encoder[0].eval()
    return encoder


GOOD = {
    "keeps": Keeps,
    "counts": Counts,
    "hooks": with_hooks,
    "weight_norm": lambda: old_norm(nn.utils.weight_norm),
    "spectral_norm": lambda: old_norm(nn.utils.spectral_norm),
    "parametrized": lambda: old_norm(nn.utils.parametrizations.weight_norm),
    "compiled": lambda: torch.compile(encoder_of(Identity())),
    "compiled inside": compiled_inside,
    "compiled in place": compiled_in_place,
    "half frozen": half_frozen,
    "float64": lambda: encoder_of(Identity()).double(),
    "bfloat16": lambda: encoder_of(Identity()).bfloat16(),
    "float16": lambda: encoder_of(Identity()).half(),
    "squeezes what is one": lambda: Gives(lambda codes: codes[:, :, None].squeeze(-1)),
}


def everything(module: nn.Module) -> dict:
    found: dict = {f"{name} trains": each.training for name, each in module.named_modules()}
    for name, each in [*module.named_parameters(), *module.named_buffers()]:
        found[name] = (each.detach().clone(), each.dtype, each.device, each.requires_grad)
    found["attributes"] = [sorted(vars(each)) for each in module.modules()]
    found["kept"] = id(getattr(module, "last", None))
    return found


def same(a: dict, b: dict) -> bool:
    def one(x: object, y: object) -> bool:
        return torch.equal(x[0], y[0]) and x[1:] == y[1:] if isinstance(x, tuple) else x == y  # type: ignore[index]

    return a.keys() == b.keys() and all(one(a[key], b[key]) for key in a)


@pytest.mark.parametrize("name", GOOD)
def test_modules_are_exported_and_stay_as_they_are(tmp_path, name: str):
    torch.manual_seed(0)
    encoder, decoder = GOOD[name](), decoder_of(Identity())
    dtype = next(encoder.parameters()).dtype
    if "compile" not in name:
        encoder(torch.from_numpy(IMAGES).to(dtype))  # it has been used, as every trained module
    before = everything(encoder)
    out = aepipe.export_modules(encoder, decoder, IMAGES, tmp_path / "out", show=False)
    assert same(before, everything(encoder))
    plain = getattr(encoder, "_orig_mod", encoder)
    if "compile" in name:
        return
    with torch.no_grad():
        codes = plain.eval()(torch.from_numpy(IMAGES).to(dtype)).float()
    near = 1e-4 if dtype in (torch.float32, torch.float64) else 0.05
    np.testing.assert_allclose(aepipe.load(out, "cpu").encode(IMAGES), codes.numpy(), atol=near)


def test_shared_weights_are_exported(tmp_path):
    encoder = encoder_of(Identity())
    decoder = Tied(encoder)
    out = aepipe.export_modules(encoder, decoder, IMAGES, tmp_path / "out", show=False)
    assert decoder.weight is encoder[2].weight and manifest_of(out)["components"]["decoder"]["name"] == "Tied"


def test_other_number_formats_are_told(tmp_path, capsys):
    aepipe.export_modules(encoder_of(Identity()).half(), decoder_of(Identity()), IMAGES, tmp_path / "out")
    assert "weights in float16; the graphs compute in float32" in capsys.readouterr().err


BAD = {
    "script": (lambda: torch.jit.script(nn.Sequential(nn.Flatten(), nn.Linear(64, 3))), "ScriptModule"),
    "script inside": (lambda: nn.Sequential(nn.Flatten(), torch.jit.script(nn.Linear(64, 3))), "ScriptModule"),
    "flow": (Flow, r"data-dependent.* in Flow\.forward \(test_guests\.py, line \d+\)"),
    "no operator": (
        lambda: Gives(lambda codes: torch.linalg.eigvals(codes[:, None] * codes[:, :, None]).real),
        "linalg_eig",
    ),
    "function": (lambda: lambda images: images, "is a function, not a torch module"),
    "class": (lambda: nn.Linear, "is the class Linear, not a torch module"),
    "nothing": (lambda: None, "is a NoneType"),
    "squeezes": (lambda: Gives(lambda codes: codes.squeeze()), r"made codes \[3\] of images \[1, 1, 8, 8\]"),
    "tuple": (lambda: Gives(lambda codes: (codes, codes)), "the encoder gives a tuple"),
    "dict": (lambda: Gives(lambda codes: {"codes": codes}), "the encoder gives a dict"),
    "double inside": (lambda: Gives(lambda codes: codes.double()), "the encoder gives float64"),
    "rows one by one": (
        lambda: Gives(lambda codes: torch.stack([row * 2 for row in codes])),
        "fixes the size of the batch at 2",
    ),
    "meta": (lambda: encoder_of(Identity()).to("meta"), "'meta'"),
    "lazy": (lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(3)), "lazy"),
    "scalar": (lambda: Gives(lambda codes: codes.sum()), r"made codes \[\]"),
    "sums the batch": (lambda: Gives(lambda codes: codes.sum(0, keepdim=True)), r"made codes \[1, 3\]"),
}


@pytest.mark.parametrize("name", BAD)
def test_modules_that_are_refused_in_a_sentence(tmp_path, name: str, capfd):
    make, said = BAD[name]
    with pytest.raises(AepipeError, match=said) as caught:
        aepipe.export_modules(make(), decoder_of(Identity()), IMAGES, tmp_path / "out", show=False)
    assert caught.value.hint and not list(tmp_path.iterdir())
    assert "\n" not in caught.value.message and "\x1b" not in caught.value.message
    assert len(capfd.readouterr().err.splitlines()) < 5


def test_images_of_several_sizes_are_cropped(tmp_path):
    from PIL import Image

    (tmp_path / "images").mkdir()
    for k in range(9):
        Image.new("RGB", (8 + k, 8), (9 * k, 0, 99)).save(tmp_path / "images" / f"{k}.png")
    (tmp_path / "images" / "9.png").write_bytes(b"broken")
    modules = encoder_of(Identity()), decoder_of(Identity())
    with pytest.raises(BadInput) as caught:
        aepipe.export_modules(*modules, tmp_path / "images", tmp_path / "out", channels=1, show=False)
    assert "image_size" in caught.value.hint and "--" not in caught.value.hint
    options = {"image_size": np.int64(8), "channels": 1, "show": False}
    with pytest.raises(BadInput) as caught:
        aepipe.export_modules(*modules, tmp_path / "images", tmp_path / "out", **options)
    assert "skip_bad=True" in caught.value.hint
    out = aepipe.export_modules(*modules, tmp_path / "images", tmp_path / "out", **options, skip_bad=True)
    assert manifest_of(out)["trained"] == {"data": "images", "task": "reconstruct", "images": 9}
