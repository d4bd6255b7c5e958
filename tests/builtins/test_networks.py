"""Built-in encoders and decoders, and options out of range."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from aepipe import plugins
from aepipe.errors import BadInput
from aepipe.space import Size
from aepipe.workshop.training.model import fit_closed_forms
from aepipe_builtins.networks import conv_plan
from torch import nn

from tests.helpers.networks import pair

ENCODERS = ("conv", "mlp:hidden=32", "pca")
DECODERS = ("deconv", "upsample", "upsample:mode=bilinear", "mlp:hidden=32", "pca")
IMAGES = ((1, 28, 28), (3, 32, 32), (1, 17, 23), (1, 8, 8), (3, 5, 64))
RESIDUAL = ("resnet:channels=8,hidden=16",) * 2
DENSE = (("mlp:hidden=32", "pca"), ("pca", "mlp:hidden=32"))  # these take rows as well
OTHERS = (*(("conv", decoder) for decoder in DECODERS[:3]), RESIDUAL, *DENSE)
PAIRS = (
    *((*pair, (5,)) for pair in DENSE),
    *((*pair, shape) for pair in OTHERS for shape in ((2, 43), (4, 1), (1, 9, 12, 10), (2, 3, 4, 5))),
    *((*RESIDUAL, shape) for shape in IMAGES),
    *product(ENCODERS, DECODERS, IMAGES),
)


@pytest.mark.parametrize(("encoder", "decoder", "shape"), PAIRS, ids=str)
def test_every_pair_takes_a_step_at_every_shape(encoder: str, decoder: str, shape: tuple[int, ...]):
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
        ("encoder", "conv", ((5,), 4), "mlp or pca"),
        ("decoder", "deconv", (4, (5,)), "mlp or pca"),
        ("encoder", "resnet", ((1, 4, 4, 4, 4), 4), "0 to 3 sides"),
        ("encoder", "resnet", ((1, None, None), 4), "no fixed size"),
        ("encoder", "mlp", ((1, 8, 8), Size(4, 2, 2)), "4×2×2 is a map"),
        ("decoder", "pca", (Size(4, 2, 2), (1, 8, 8)), "4×2×2 is a map"),
        ("encoder", "resnet-map", ((5,), 4), "mlp or pca"),
        ("encoder", "resnet-map", ((1, 12, 16), 4), "multiples of 8"),
        ("encoder", "resnet-map", ((1, 16, 16), Size(4, 2, 4)), "2×2, not 2×4"),
        ("encoder", "resnet-map:down=7", ((1, 128), 4), "down is 0 to 6"),
        ("decoder", "resnet-map", (4, (1, 8, 8)), "no sides is no map"),
        ("decoder", "resnet-map", (Size(4, 1, 2), (1, 8, 8)), "by doubling"),
        ("decoder", "resnet-map", (Size(4, 3), (1, 8)), "by doubling"),
        ("decoder", "resnet-map", (Size(4, None), (1, None)), "do not say how often"),
        ("encoder", "identity", ((1, 8, 8), 64), "latent size has to be 'image'"),
        ("decoder", "unet", (8, (1, 16, 16)), "latent size 'image'"),
        ("decoder", "unet", (Size(1, 12, 16), (1, 12, 16)), "multiples of 8"),
        ("decoder", "unet:levels=9", (Size(1, 16, 16), (1, 16, 16)), "levels is 1 to 6"),
        ("objective", "charbonnier:epsilon=-1", (4,), "epsilon"),
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
