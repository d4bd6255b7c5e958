"""The networks of the pairs `resnet` and `resnet-map`. Only their factories import this file, so it may import torch."""

from __future__ import annotations

from itertools import pairwise
from math import prod

from aepipe.space import Space, times
from torch import Tensor, nn
from torch.nn import functional

from .networks import CONV, TRANSPOSED, OpenShape, Shape, Sides, check_vector, shape_of, sides_of

MOST_HALVINGS = 6  # of the sides of a map
SMALLEST = 7  # a side of so many pixels or fewer is not halved any more


def halvings(*sides: int) -> list[Sides]:
    """The sizes of the feature maps, beginning with the sample's. Each is half of the one before, rounded up, until a side is
    SMALLEST or less."""
    sizes = [sides]
    while min(sizes[-1]) > SMALLEST:
        sizes.append(tuple((side + 1) // 2 for side in sizes[-1]))
    return sizes


def widths(channels: int, levels: int) -> list[int]:
    """The channels of each level: levels 0 and 1 have `channels`, level 2 twice as many, all further ones four times as many."""
    return [channels * min(2 ** max(level - 1, 0), 4) for level in range(levels)]


class Block(nn.Module):
    """x + conv(relu(conv(relu(x)))), at first the identity (He et al., 2016; without batch norms: Zhang et al., 2019)."""

    def __init__(self, channels: int, sides: int):
        super().__init__()
        self.first = CONV[sides](channels, channels, 3, padding=1)
        self.second = CONV[sides](channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, maps: Tensor) -> Tensor:
        return maps + self.second(functional.relu(self.first(functional.relu(maps))))


class Up(nn.Module):
    """Doubles the size, and crops if that is one pixel too many. A kernel of 4 at stride 2 overlaps evenly and leaves no grid."""

    def __init__(self, before: int, after: int, size: Sides):
        super().__init__()
        self.size = size
        self.enlarge = TRANSPOSED[len(size)](before, after, 4, 2, 1)

    def forward(self, maps: Tensor) -> Tensor:
        return self.enlarge(maps)[(slice(None), slice(None), *(slice(side) for side in self.size))]


def resnet_encoder(shape: Shape, features: int, channels: int, blocks: int, hidden: int) -> nn.Sequential:
    """Halving convolutions with residual blocks between them, then two linear layers."""
    _positive(channels=channels, blocks=blocks, hidden=hidden)
    check_vector(features, shape)
    sides = sides_of(shape)
    sizes, conv = halvings(*sides), CONV[len(sides)]
    wide = widths(channels, len(sizes))
    if len(sizes) == 1:
        layers: list[nn.Module] = [conv(shape[0], wide[0], 3, padding=1), *_blocks(wide[0], blocks, len(sides))]
    else:
        layers = []
        for before, after in zip([shape[0], *wide[1:]], wide[1:], strict=False):
            layers += [nn.ReLU()] if layers else []
            layers += [conv(before, after, 3, 2, 1), *_blocks(after, blocks, len(sides))]
    flat = wide[-1] * prod(sizes[-1])
    layers += [nn.ReLU(), nn.Flatten(), nn.Linear(flat, hidden), nn.ReLU(), nn.Linear(hidden, features)]
    return nn.Sequential(*layers)


def resnet_decoder(latent: int, shape: Shape, channels: int, blocks: int, hidden: int) -> nn.Sequential:
    """The mirror image of `resnet_encoder`."""
    _positive(channels=channels, blocks=blocks, hidden=hidden)
    check_vector(latent, shape)
    sides = sides_of(shape)
    sizes = halvings(*sides)
    wide = widths(channels, len(sizes))
    start = (wide[-1], *sizes[-1])
    layers: list[nn.Module] = [
        nn.Linear(latent, hidden),
        nn.ReLU(),
        nn.Linear(hidden, prod(start)),
        nn.Unflatten(1, start),
    ]
    for level in range(len(sizes) - 1, 0, -1):
        layers += [
            *_blocks(wide[level], blocks, len(sides)),
            nn.ReLU(),
            Up(wide[level], wide[level - 1], sizes[level - 1]),
        ]
    if len(sizes) == 1:
        layers += _blocks(wide[0], blocks, len(sides))
    return nn.Sequential(*layers, nn.ReLU(), CONV[len(sides)](wide[0], shape[0], 3, padding=1))


def _blocks(channels: int, count: int, sides: int) -> list[nn.Module]:
    return [Block(channels, sides) for _ in range(count)]


class AnySize(nn.Sequential):
    """Layers that take samples of any sides which are multiples of `multiple`."""

    def __init__(self, layers: list[nn.Module], multiple: int):
        super().__init__(*layers)
        self.multiple = multiple


def map_encoder(shape: OpenShape, features: int, channels: int, blocks: int, down: int) -> AnySize:
    """Halves the sides `down` times, each time by one convolution and residual blocks; the code is a map [N, C, *sides].

    Sides of `shape` may be None; a plain number as `features` is the channels of the map. Raises ValueError for sides that
    cannot be halved so often, and for another map.
    """
    _positive(channels=channels, blocks=blocks)
    if not 0 <= down <= MOST_HALVINGS:
        raise ValueError(f"down is 0 to {MOST_HALVINGS}, not {down}")
    sides, step = sides_of(shape), 2**down
    own, code = Space.of(shape_of(features)).channels, shape_of(features)[1:]
    if any(side is not None and (side < step or side % step) for side in sides):
        raise ValueError(f"sides of {times(sides)} cannot be halved {down} times: choose multiples of {step}")
    small = tuple(None if side is None else side // step for side in sides)
    if code and code != small:
        raise ValueError(f"sides of {times(sides)} halved {down} times are {times(small)}, not {times(code)}")
    conv, inputs = CONV[len(sides)], Space.of(shape).channels
    wide = widths(channels, down + 1)
    layers: list[nn.Module] = [conv(inputs, wide[0], 3, padding=1), *_blocks(wide[0], blocks, len(sides))]
    for before, after in pairwise(wide):
        layers += [nn.ReLU(), conv(before, after, 4, 2, 1), *_blocks(after, blocks, len(sides))]
    return AnySize([*layers, nn.ReLU(), conv(wide[-1], own, 3, padding=1)], step)


def map_decoder(latent: int, shape: OpenShape, channels: int, blocks: int) -> AnySize:
    """The mirror image of `map_encoder`, with as many doublings as lie between the code and the sample.

    A side may be None in both, but not all of them. Raises ValueError for a code that is no such map.
    """
    _positive(channels=channels, blocks=blocks)
    sides, code = sides_of(shape), Space.of(shape_of(latent))
    up = _doublings(code.sides, sides)
    conv, transposed = CONV[len(sides)], TRANSPOSED[len(sides)]
    wide = widths(channels, up + 1)
    layers: list[nn.Module] = [conv(code.channels, wide[-1], 3, padding=1), *_blocks(wide[-1], blocks, len(sides))]
    for before, after in pairwise(wide[::-1]):
        layers += [nn.ReLU(), transposed(before, after, 4, 2, 1), *_blocks(after, blocks, len(sides))]
    return AnySize([*layers, nn.ReLU(), conv(wide[0], Space.of(shape).channels, 3, padding=1)], 2**up)


def _doublings(code: OpenShape, sides: OpenShape) -> int:
    """How often the sides of a code have to be doubled to be those of the sample; raises ValueError where that is no number."""
    if len(code) != len(sides):
        of_code = f"{len(code)} sides" if code else "no sides"
        raise ValueError(f"a code of {of_code} is no map of {times(sides)}: take the encoder resnet-map or identity")
    known = [(own, side) for own, side in zip(code, sides, strict=True) if own is not None and side is not None]
    if not known:
        raise ValueError(
            "sides of any size do not say how often a code is doubled: give one of them in code and sample"
        )
    for count in range(MOST_HALVINGS + 1):
        if all(own << count == side for own, side in known):
            return count
    most = f"those of the sample, halved 0 to {MOST_HALVINGS} times"
    raise ValueError(f"sides of {times(code)} do not become {times(sides)} by doubling: choose {most}")


def identity(shape: OpenShape, features: int) -> AnySize:
    """No network at all: the code is the sample."""
    if shape_of(features) != tuple(shape):
        raise ValueError("its code is the sample: the latent size has to be 'image'")
    return AnySize([nn.Identity()], 1)


def _positive(**values: int) -> None:
    for name, value in values.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, not {value}")
