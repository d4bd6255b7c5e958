"""Decoders: codes [N, latent], or maps, to standardised samples [N, C, *sides]."""

from __future__ import annotations

from typing import Literal

from aepipe import hookimpl


@hookimpl
def register_decoders(register):
    register(deconv)
    register(upsample)
    register(resnet)
    register(resnet_map, name="resnet-map")
    register(unet)
    register(mlp)
    register(pca)


def deconv(latent, shape, *, channels: int = 32):
    """The mirror image of `conv`, with transposed convolutions.

    channels: channels of every hidden layer
    """
    from .networks import deconv_decoder

    return deconv_decoder(latent, shape, channels)


def upsample(latent, shape, *, channels: int = 32, mode: Literal["nearest", "bilinear"] = "nearest"):
    """Interpolation followed by convolutions: no grid artefacts (Odena, Dumoulin and Olah, 2016).

    channels: channels of every hidden layer
    mode: how feature maps are enlarged
    """
    from .networks import UpsampleDecoder

    return UpsampleDecoder(latent, shape, channels, mode)


def resnet(latent, shape, *, channels: int = 32, blocks: int = 1, hidden: int = 256):
    """The mirror image of the encoder `resnet`.

    channels: channels of the largest map; smaller maps have more
    blocks: residual blocks at each size
    hidden: width of the layer after the code
    """
    from .residual import resnet_decoder

    return resnet_decoder(latent, shape, channels, blocks, hidden)


def resnet_map(latent, shape, *, channels: int = 32, blocks: int = 2):
    """The mirror image of the encoder `resnet-map`; beside `identity` a restorer of samples of any size.

    channels: channels of the largest map; smaller maps have more
    blocks: residual blocks at each size
    """
    from .residual import map_decoder

    return map_decoder(latent, shape, channels, blocks)


def unet(latent, shape, *, channels: int = 32, blocks: int = 1, levels: int = 3):
    """Beside the encoder `identity` a restorer of samples of any size: it learns the difference from its input.

    channels: channels at half the sample's sides; smaller maps have more
    blocks: residual blocks at each size on each way
    levels: how often the sides are halved
    """
    from .unet import unet as network

    return network(latent, shape, channels, blocks, levels)


def mlp(latent, shape, *, hidden: tuple[int, ...] = (256, 512)):
    """Fully connected layers with ReLU between them.

    hidden: widths of the hidden layers, from the code to the image, as 256/512
    """
    from .networks import mlp_decoder

    return mlp_decoder(latent, shape, hidden)


def pca(latent, shape):
    """The best linear decoder; beside the encoder `pca` it is fitted in closed form."""
    from .pca import LinearDecoder

    return LinearDecoder(latent, shape)
