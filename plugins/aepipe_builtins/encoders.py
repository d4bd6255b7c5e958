"""Encoders: standardised samples [N, C, *sides] to features [N, features], or to maps."""

from __future__ import annotations

from aepipe import hookimpl


@hookimpl
def register_encoders(register):
    register(conv)
    register(resnet)
    register(resnet_map, name="resnet-map")
    register(identity)
    register(mlp)
    register(pca)


def conv(shape, features, *, channels: int = 32):
    """The lecture's convolutional encoder; on 28x28 its sizes are 28, 24, 20, 9, 4, 1.

    channels: channels of every hidden layer
    """
    from .networks import conv_encoder

    return conv_encoder(shape, features, channels)


def resnet(shape, features, *, channels: int = 32, blocks: int = 1, hidden: int = 256):
    """Residual blocks between halving convolutions: lower errors than `conv` in the same time.

    channels: channels of the largest map; smaller maps have more
    blocks: residual blocks at each size
    hidden: width of the layer before the code
    """
    from .residual import resnet_encoder

    return resnet_encoder(shape, features, channels, blocks, hidden)


def resnet_map(shape, features, *, channels: int = 32, blocks: int = 2, down: int = 3):
    """A code that is a map, of samples of any size: convolutions and residual blocks alone.

    channels: channels of the largest map; smaller maps have more
    blocks: residual blocks at each size
    down: how often the sides are halved
    """
    from .residual import map_encoder

    return map_encoder(shape, features, channels, blocks, down)


def identity(shape, features):
    """The sample itself is the code: for restorers, whose decoder does everything."""
    from .residual import identity as itself

    return itself(shape, features)


def mlp(shape, features, *, hidden: tuple[int, ...] = (512, 256)):
    """Fully connected layers with ReLU between them.

    hidden: widths of the hidden layers, from the image to the code, as 512/256
    """
    from .networks import mlp_encoder

    return mlp_encoder(shape, features, hidden)


def pca(shape, features):
    """Principal component analysis in closed form: the best linear encoder."""
    from .pca import PcaEncoder

    return PcaEncoder(shape, features)
