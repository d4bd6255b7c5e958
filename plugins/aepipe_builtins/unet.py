"""The network of the decoder `unet`. Only its factory imports this file, so it may import torch."""

from __future__ import annotations

from itertools import pairwise

from aepipe.space import Space
from torch import Tensor, nn

from .networks import CONV, TRANSPOSED, OpenShape, shape_of, sides_of
from .residual import Block

MOST_LEVELS = 6


class UNet(nn.Module):
    """x plus what is to be changed in it: halving convolutions, doubling ones, and at every size the sum of both ways.

       A U-Net (Ronneberger, Fischer and Brox, 2015) of residual blocks that learns the difference from its input (Zhang et al.,
       2017). It works on half the input's sides and smaller. The first convolution, of 6 values at stride 2, is one of 3 on the
       values of each square of 2 by 2, taken as channels (Shi et al., 2016), and the last is its mirror image. So one pixel of an
    image takes few operations, and each sees far around it. At first it is the identity.
    """

    def __init__(self, channels: int, width: int, blocks: int, levels: int, sides: int):
        super().__init__()
        conv, transposed = CONV[sides], TRANSPOSED[sides]
        wide = [width << level for level in range(levels)]
        self.multiple = 2**levels
        self.head = conv(channels, width, 6, 2, 2)
        self.down = nn.ModuleList(_blocks(each, blocks, sides) for each in wide[:-1])
        self.shrink = nn.ModuleList(conv(before, after, 2, 2) for before, after in pairwise(wide))
        self.middle = _blocks(wide[-1], 2 * blocks, sides)
        self.grow = nn.ModuleList(transposed(after, before, 2, 2) for before, after in pairwise(wide))
        self.up = nn.ModuleList(_blocks(each, blocks, sides) for each in wide[:-1])
        self.tail = transposed(width, channels, 6, 2, 2)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)

    def forward(self, samples: Tensor) -> Tensor:
        """Samples [N, C, *sides] to samples of the same shape; sides are multiples of `multiple`."""
        maps, kept = self.head(samples), []
        for blocks, shrink in zip(self.down, self.shrink, strict=True):
            maps = blocks(maps)
            kept.append(maps)
            maps = shrink(maps)
        maps = self.middle(maps)
        for blocks, grow in zip(reversed(self.up), reversed(self.grow), strict=True):
            maps = blocks(grow(maps) + kept.pop())
        return samples + self.tail(maps)


def _blocks(width: int, count: int, sides: int) -> nn.Sequential:
    return nn.Sequential(*(Block(width, sides) for _ in range(count)))


def unet(latent: int, shape: OpenShape, channels: int, blocks: int, levels: int) -> UNet:
    """The network for samples of this shape, whose sides may be None; raises ValueError for a code that is not the sample."""
    sides, step = sides_of(shape), 2**levels if 1 <= levels <= MOST_LEVELS else 0
    if not step:
        raise ValueError(f"levels is 1 to {MOST_LEVELS}, not {levels}")
    if channels < 1 or blocks < 1:
        raise ValueError(f"channels and blocks are at least 1, not {channels} and {blocks}")
    if shape_of(latent) != tuple(shape):
        raise ValueError("its code is the sample: take the encoder identity, and the latent size 'image'")
    if any(side is not None and side % step for side in sides):
        raise ValueError(f"it halves sides {levels} times: choose multiples of {step}, or fewer levels")
    return UNet(Space.of(shape).channels, channels, blocks, levels, len(sides))
