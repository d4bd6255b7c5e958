"""The lecture's checkerboard: measures the grid that uneven overlaps of a transposed convolution leave in images.

If the kernel is not a multiple of the stride, some output pixels are sums of more terms than others, in a pattern that repeats
with the stride (Odena, Dumoulin and Olah, 2016). Three decoders of one size, which differ only in their last two layers, are
trained alike.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import aepipe
import numpy as np
from aepipe import figures, hookimpl, plugins
from aepipe.images.data import open_images
from aepipe.images.pixels import as_float

CHANNELS, IMAGES = 16, 512
KERNELS = {"k4s3": (4, 3), "k4s2": (4, 2), "upsample": (3, 2)}  # kernel and stride of each decoder
PERIODS = tuple(dict.fromkeys(stride for _, stride in KERNELS.values()))  # the periods, in pixels, of possible grids
TITLES = {
    "k4s3": "transposed, kernel 4, stride 3: overlaps unevenly",
    "k4s2": "transposed, kernel 4, stride 2: overlaps evenly",
    "upsample": "interpolation, then a convolution of kernel 3",
    "blurred": "no decoder: originals, blurred",
    "grid_3": "no decoder: originals, every third row and column a fifth brighter",
    "grid_2": "no decoder: originals, every second row and column a fifth brighter",
}


class Decoders:
    """A plugin with the first two of KERNELS as decoders, which is registered only while this script runs."""

    @hookimpl
    def register_decoders(self, register: Callable[..., object]) -> None:
        for name in ("k4s3", "k4s2"):
            register(transposed(*KERNELS[name]), name=name)


def transposed(kernel: int, stride: int) -> Callable[..., object]:
    """A factory of decoders that end in two transposed convolutions."""

    def make(latent, shape):
        """A linear layer, then two transposed convolutions."""
        from torch import nn

        class Cropped(nn.Module):
            def __init__(self, size: int):
                super().__init__()
                self.size = size

            def forward(self, maps):
                return maps[:, :, : self.size, : self.size]

        size = -(-shape[1] // stride**2)
        layers: list[nn.Module] = [
            nn.Linear(latent, CHANNELS * size**2),
            nn.ReLU(),
            nn.Unflatten(1, (CHANNELS, size, size)),
        ]
        for after, wanted in ((CHANNELS, -(-shape[1] // stride)), (shape[0], shape[1])):
            layers += [nn.ConvTranspose2d(CHANNELS, after, kernel, stride), Cropped(wanted), nn.ReLU()]
        return nn.Sequential(*layers[:-1])

    return make


def energy(images: np.ndarray, frequency: float) -> float:
    """Mean energy of images [N, C, H, W] at a frequency, in periods per pixel, along rows and columns."""
    wave, down = (np.exp(-2j * np.pi * np.arange(size) * frequency) for size in (images.shape[-1], images.shape[-2]))
    along = [images @ wave, np.einsum("nchw,h->ncw", images, down)]
    return float(np.mean([np.mean(np.abs(each) ** 2) for each in along]))


def peak(images: np.ndarray, period: int) -> float:
    """The energy at the frequency that repeats every `period` pixels, by the geometric mean of its two neighbours.

    The neighbours are one period in the whole width away, so that a regular grid has nothing there. A reconstruction has less
    energy than its original at all high frequencies, because it is less sharp: so only a peak among them can be a grid.
    """
    step = 1 / images.shape[-1]
    beside = [energy(images, 1 / period + shift) for shift in (-step, step)]
    return energy(images, 1 / period) / float(np.sqrt(np.prod(beside)))


def known(images: np.ndarray) -> dict[str, np.ndarray]:
    """Images with and without a grid, to see what the instrument says of them: blurred by 1, 2, 1, and with grids."""
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
    rows = (padded[:, :, :-2] + 2 * padded[:, :, 1:-1] + padded[:, :, 2:]) / 4
    made = {"blurred": (rows[..., :-2] + 2 * rows[..., 1:-1] + rows[..., 2:]) / 4}
    for period in PERIODS:
        across, down = (np.where(np.arange(size) % period, 1.0, 1.2) for size in (images.shape[-1], images.shape[-2]))
        made[f"grid_{period}"] = images * across * down[:, None]
    return made


def checkerboard(data: str, limit: int | None, epochs: int, runs: Path, out: Path) -> dict[str, dict[str, float]]:
    """Train, export and measure the three; draws `checkerboard.png`. Returns by decoder the MSE and the peak at each period,
    and the same of images of which it is known whether they have a grid.

    The peak of the reconstructions is divided by that of the images themselves. It is measured at both strides for all
    decoders, because values at different frequencies do not compare.
    """
    source = open_images(data, split="test", limit=IMAGES)
    images = as_float(source.read(np.arange(len(source))))
    usual = {period: peak(images, period) for period in PERIODS}

    def measured(restored: np.ndarray) -> dict[str, float]:
        peaks = {f"peak_{period}": peak(restored, period) / usual[period] for period in PERIODS}
        return {"mse": float(np.square(restored - images).mean()), **peaks}

    named, results = [("original", images[:12])], {}
    plugin = plugins.registry().register(Decoders(), "checkerboard")
    try:
        for name in KERNELS:
            decoder = name if name != "upsample" else f"upsample:channels={CHANNELS}"
            bundle = runs / "exported" / f"checkerboard-{name}"
            if not (bundle / "manifest.json").exists():
                recipe = {
                    "latent_dim": 8,
                    "epochs": epochs,
                    "limit": limit,
                    "densities": ["gaussian"],
                    "overwrite": True,
                }
                aepipe.fit(data, encoder="conv", decoder=decoder, out=runs / f"checkerboard-{name}", **recipe).export(
                    bundle
                )
            with aepipe.load(bundle, "cpu") as model:
                restored = model.reconstruct(images)
            results[name] = measured(restored)
            named.append((name, restored[:12]))
    finally:
        plugins.registry().unregister(plugin)
    subtitle = "peak at a period of 3 pixels, by that of the originals: " + ", ".join(
        f"{name} {each['peak_3']:.2f}" for name, each in results.items()
    )
    results |= {name: measured(made) for name, made in known(images).items()}
    figures.save(
        figures.rows(named, title="Transposed convolutions and grids", subtitle=subtitle), out / "checkerboard.png"
    )
    return results
