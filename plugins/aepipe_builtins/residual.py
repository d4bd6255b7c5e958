"""The networks of the pair `resnet`. Only their factories import this file, so it may import torch."""

from __future__ import annotations

from math import prod

from torch import Tensor, nn
from torch.nn import functional

Shape = tuple[int, int, int]
SMALLEST = 7  # a side of so many pixels or fewer is not halved any more


def halvings(height: int, width: int) -> list[tuple[int, int]]:
    """The sizes of the feature maps, beginning with the image's. Each is half of the one before, rounded up, until a side is
    SMALLEST or less."""
    sizes = [(height, width)]
    while min(sizes[-1]) > SMALLEST:
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    return sizes


def widths(channels: int, levels: int) -> list[int]:
    """The channels of each level: levels 0 and 1 have `channels`, level 2 twice as many, all further ones four times as many."""
    return [channels * min(2 ** max(level - 1, 0), 4) for level in range(levels)]


class Block(nn.Module):
    """x + conv(relu(conv(relu(x)))), at first the identity (He et al., 2016; without batch norms: Zhang et al., 2019)."""

    def __init__(self, channels: int):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, maps: Tensor) -> Tensor:
        return maps + self.second(functional.relu(self.first(functional.relu(maps))))


class Up(nn.Module):
    """Doubles the size, and crops if that is one pixel too many. A kernel of 4 at stride 2 overlaps evenly and leaves no grid."""

    def __init__(self, before: int, after: int, size: tuple[int, int]):
        super().__init__()
        self.size = size
        self.enlarge = nn.ConvTranspose2d(before, after, 4, 2, 1)

    def forward(self, maps: Tensor) -> Tensor:
        return self.enlarge(maps)[:, :, : self.size[0], : self.size[1]]


def resnet_encoder(shape: Shape, features: int, channels: int, blocks: int, hidden: int) -> nn.Sequential:
    """Halving convolutions with residual blocks between them, then two linear layers."""
    _positive(channels=channels, blocks=blocks, hidden=hidden)
    sizes = halvings(*shape[1:])
    wide = widths(channels, len(sizes))
    if len(sizes) == 1:
        layers: list[nn.Module] = [nn.Conv2d(shape[0], wide[0], 3, padding=1), *_blocks(wide[0], blocks)]
    else:
        layers = []
        for before, after in zip([shape[0], *wide[1:]], wide[1:], strict=False):
            layers += [nn.ReLU()] if layers else []
            layers += [nn.Conv2d(before, after, 3, 2, 1), *_blocks(after, blocks)]
    flat = wide[-1] * prod(sizes[-1])
    layers += [nn.ReLU(), nn.Flatten(), nn.Linear(flat, hidden), nn.ReLU(), nn.Linear(hidden, features)]
    return nn.Sequential(*layers)


def resnet_decoder(latent: int, shape: Shape, channels: int, blocks: int, hidden: int) -> nn.Sequential:
    """The mirror image of `resnet_encoder`."""
    _positive(channels=channels, blocks=blocks, hidden=hidden)
    sizes = halvings(*shape[1:])
    wide = widths(channels, len(sizes))
    start = (wide[-1], *sizes[-1])
    layers: list[nn.Module] = [
        nn.Linear(latent, hidden),
        nn.ReLU(),
        nn.Linear(hidden, prod(start)),
        nn.Unflatten(1, start),
    ]
    for level in range(len(sizes) - 1, 0, -1):
        layers += [*_blocks(wide[level], blocks), nn.ReLU(), Up(wide[level], wide[level - 1], sizes[level - 1])]
    if len(sizes) == 1:
        layers += _blocks(wide[0], blocks)
    return nn.Sequential(*layers, nn.ReLU(), nn.Conv2d(wide[0], shape[0], 3, padding=1))


def _blocks(channels: int, count: int) -> list[nn.Module]:
    return [Block(channels) for _ in range(count)]


def _positive(**values: int) -> None:
    for name, value in values.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, not {value}")
