"""The networks of the built-in encoders and decoders. Only their factories import this file, so it may import torch."""

from __future__ import annotations

from math import prod

from torch import Tensor, nn
from torch.nn import functional

Size = tuple[int, int]


def conv_plan(height: int, width: int) -> list[tuple[int, int, Size]]:
    """Layers `(kernel, stride, size of the input)` of the lecture's encoder, adapted to the image size.

    28x28 gives the lecture's net: kernel 5, kernel 5, kernel 4 stride 2, kernel 3 stride 2. A layer that would leave a side of
    fewer than 4 pixels is left out. A larger image gets more layers of kernel 4 stride 2, so that the last convolution, which
    covers the whole remaining map, stays small. The last layer has kernel 0 in the plan, which stands for the whole map.
    """
    plan = []
    size = (height, width)
    for kernel, stride in [(5, 1), (5, 1), (4, 2), (3, 2)] + [(4, 2)] * 16:
        smaller = ((size[0] - kernel) // stride + 1, (size[1] - kernel) // stride + 1)
        if min(smaller) >= 4:
            plan.append((kernel, stride, size))
            size = smaller
    plan.append((0, 1, size))
    return plan


def conv_encoder(shape: tuple[int, int, int], features: int, channels: int) -> nn.Sequential:
    """Convolutions with ReLU; the last one covers the whole remaining map (Fleuret, deep learning course, 7.2)."""
    _positive(channels=channels)
    before = shape[0]
    layers: list[nn.Module] = []
    *hidden, (_, _, rest) = conv_plan(*shape[1:])
    for kernel, stride, _ in hidden:
        layers += [nn.Conv2d(before, channels, kernel, stride), nn.ReLU()]
        before = channels
    return nn.Sequential(*layers, nn.Conv2d(before, features, rest), nn.Flatten())


def deconv_decoder(latent: int, shape: tuple[int, int, int], channels: int) -> nn.Sequential:
    """Transposed convolutions that mirror `conv_encoder` layer by layer.

    A convolution drops `(W - kernel) % stride` pixels; output_padding adds them again, so that every size works.
    """
    _positive(channels=channels)
    *hidden, (_, _, rest) = conv_plan(*shape[1:])
    after = channels if hidden else shape[0]
    layers: list[nn.Module] = [nn.Unflatten(1, (latent, 1, 1)), nn.ConvTranspose2d(latent, after, rest)]
    for index, (kernel, stride, size) in reversed(list(enumerate(hidden))):
        missing = ((size[0] - kernel) % stride, (size[1] - kernel) % stride)
        after = shape[0] if index == 0 else channels
        layers += [nn.ReLU(), nn.ConvTranspose2d(channels, after, kernel, stride, output_padding=missing)]
    return nn.Sequential(*layers)


class UpsampleDecoder(nn.Module):
    """A linear layer makes a small map; then each step doubles its size by interpolation and applies two convolutions."""

    def __init__(self, latent: int, shape: tuple[int, int, int], channels: int, mode: str):
        super().__init__()
        _positive(channels=channels)
        self.mode = mode
        self.sizes = [tuple(shape[1:])]
        while min(self.sizes[0]) > 7:
            self.sizes.insert(0, tuple((n + 1) // 2 for n in self.sizes[0]))
        self.start = nn.Sequential(
            nn.Linear(latent, channels * prod(self.sizes[0])), nn.ReLU(), nn.Unflatten(1, (channels, *self.sizes[0]))
        )
        self.steps = nn.ModuleList(_two_convolutions(channels) for _ in self.sizes[1:])
        self.last = nn.Conv2d(channels, shape[0], 3, padding=1)

    def forward(self, codes: Tensor) -> Tensor:
        maps = self.start(codes)
        for (height, width), step in zip(self.sizes[1:], self.steps, strict=True):
            # The size is doubled, and cropped if that is one pixel too many: so the exported graph holds only constants.
            larger = functional.interpolate(maps, scale_factor=2, mode=self.mode)
            maps = step(larger[:, :, :height, :width])
        return self.last(maps)


def _two_convolutions(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU()
    )


def mlp_encoder(shape: tuple[int, int, int], features: int, hidden: tuple[int, ...]) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), *_dense(prod(shape), hidden, features))


def mlp_decoder(latent: int, shape: tuple[int, int, int], hidden: tuple[int, ...]) -> nn.Sequential:
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
