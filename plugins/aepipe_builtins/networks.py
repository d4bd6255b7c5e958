"""The networks of the built-in encoders and decoders. Only their factories import this file, so it may import torch."""

from __future__ import annotations

from math import prod
from typing import TypeVar

from aepipe.space import Space, times
from torch import Tensor, nn
from torch.nn import functional

Shape = tuple[int, ...]  # C, *sides
Sides = tuple[int, ...]
OpenShape = tuple[int | None, ...]  # the same; None is a side of any size
Side = TypeVar("Side", bound=int | None)

# By the number of sides: of signals, images and volumes.
CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
SMOOTH = {1: "linear", 2: "bilinear", 3: "trilinear"}


def sides_of(shape: tuple[Side, ...]) -> tuple[Side, ...]:
    """The sides of signals, images and volumes. Raises ValueError for rows, which have none, and for more than three sides."""
    if not Space.of(shape).sides:
        raise ValueError("rows have no sides to convolve along: take mlp or pca")
    return shape[1:]


def check_vector(code: int, shape: OpenShape) -> None:
    """Raises ValueError for a code that is a map, and for samples of any size: these networks take or make one vector."""
    of_code = shape_of(code)
    if len(of_code) > 1:
        raise ValueError(f"a code of {times(of_code)} is a map: take resnet-map, or a plain number as code")
    if None in shape:
        raise ValueError(f"samples of {times(shape)} have no fixed size: take resnet-map, or samples of one size")


def shape_of(code: int) -> OpenShape:
    """The shape in which the numbers of a code stand: that of a `Size`, and (n,) of a plain number."""
    shape: OpenShape = getattr(code, "shape", (code,))
    return shape


def conv_plan(*sides: int) -> list[tuple[int, int, Sides]]:
    """Layers `(kernel, stride, sizes of the input)` of the lecture's encoder, adapted to the size of the samples.

    28x28 gives the lecture's net: kernel 5, kernel 5, kernel 4 stride 2, kernel 3 stride 2. A layer that would leave a side of
    fewer than 4 pixels is left out. A larger image gets more layers of kernel 4 stride 2, so that the last convolution, which
    covers the whole remaining map, stays small. The last layer has kernel 0 in the plan, which stands for the whole map.
    """
    plan = []
    size = sides
    for kernel, stride in [(5, 1), (5, 1), (4, 2), (3, 2)] + [(4, 2)] * 16:
        smaller = tuple((side - kernel) // stride + 1 for side in size)
        if min(smaller) >= 4:
            plan.append((kernel, stride, size))
            size = smaller
    plan.append((0, 1, size))
    return plan


def conv_encoder(shape: Shape, features: int, channels: int) -> nn.Sequential:
    """Convolutions with ReLU; the last one covers the whole remaining map (Fleuret, deep learning course, 7.2)."""
    _positive(channels=channels)
    check_vector(features, shape)
    sides, before = sides_of(shape), shape[0]
    conv = CONV[len(sides)]
    layers: list[nn.Module] = []
    *hidden, (_, _, rest) = conv_plan(*sides)
    for kernel, stride, _ in hidden:
        layers += [conv(before, channels, kernel, stride), nn.ReLU()]
        before = channels
    return nn.Sequential(*layers, conv(before, features, rest), nn.Flatten())


def deconv_decoder(latent: int, shape: Shape, channels: int) -> nn.Sequential:
    """Transposed convolutions that mirror `conv_encoder` layer by layer.

    A convolution drops `(W - kernel) % stride` pixels; output_padding adds them again, so that every size works.
    """
    _positive(channels=channels)
    check_vector(latent, shape)
    sides = sides_of(shape)
    transposed = TRANSPOSED[len(sides)]
    *hidden, (_, _, rest) = conv_plan(*sides)
    after = channels if hidden else shape[0]
    layers: list[nn.Module] = [nn.Unflatten(1, (latent, *(1,) * len(sides))), transposed(latent, after, rest)]
    for index, (kernel, stride, size) in reversed(list(enumerate(hidden))):
        missing = tuple((side - kernel) % stride for side in size)
        after = shape[0] if index == 0 else channels
        layers += [nn.ReLU(), transposed(channels, after, kernel, stride, output_padding=missing)]
    return nn.Sequential(*layers)


class UpsampleDecoder(nn.Module):
    """A linear layer makes a small map; then each step doubles its size by interpolation and applies two convolutions."""

    def __init__(self, latent: int, shape: Shape, channels: int, mode: str):
        super().__init__()
        _positive(channels=channels)
        check_vector(latent, shape)
        sides = sides_of(shape)
        self.mode = SMOOTH[len(sides)] if mode == "bilinear" else mode
        self.sizes = [tuple(sides)]
        while min(self.sizes[0]) > 7:
            self.sizes.insert(0, tuple((n + 1) // 2 for n in self.sizes[0]))
        self.start = nn.Sequential(
            nn.Linear(latent, channels * prod(self.sizes[0])), nn.ReLU(), nn.Unflatten(1, (channels, *self.sizes[0]))
        )
        conv = CONV[len(sides)]
        self.steps = nn.ModuleList(_two_convolutions(conv, channels) for _ in self.sizes[1:])
        self.last = conv(channels, shape[0], 3, padding=1)

    def forward(self, codes: Tensor) -> Tensor:
        maps = self.start(codes)
        for size, step in zip(self.sizes[1:], self.steps, strict=True):
            # The size is doubled, and cropped if that is one pixel too many: so the exported graph holds only constants.
            larger = functional.interpolate(maps, scale_factor=2, mode=self.mode)
            maps = step(larger[(slice(None), slice(None), *(slice(side) for side in size))])
        return self.last(maps)


def _two_convolutions(conv: type[nn.Module], channels: int) -> nn.Sequential:
    return nn.Sequential(
        conv(channels, channels, 3, padding=1), nn.ReLU(), conv(channels, channels, 3, padding=1), nn.ReLU()
    )


def mlp_encoder(shape: Shape, features: int, hidden: tuple[int, ...]) -> nn.Sequential:
    check_vector(features, shape)
    return nn.Sequential(nn.Flatten(), *_dense(prod(shape), hidden, features))


def mlp_decoder(latent: int, shape: Shape, hidden: tuple[int, ...]) -> nn.Sequential:
    check_vector(latent, shape)
    return nn.Sequential(*_dense(latent, hidden, prod(shape)), nn.Unflatten(1, shape))


def _dense(first: int, hidden: tuple[int, ...], last: int) -> list[nn.Module]:
    _positive(**{f"hidden[{i}]": width for i, width in enumerate(hidden)})
    widths = [first, *hidden]
    layers: list[nn.Module] = []
    for before, after in zip(widths, hidden, strict=False):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return [*layers, nn.Linear(widths[-1], last)]


def _positive(**values: int) -> None:
    for name, value in values.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, not {value}")
