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


def energy(images: np.ndarray, period: int) -> float:
    """Mean energy of images [N, C, H, W] at the frequency that repeats every `period` pixels, along rows and columns."""
    wave = np.exp(-2j * np.pi * np.arange(images.shape[-1]) / period)
    down = np.exp(-2j * np.pi * np.arange(images.shape[-2]) / period)
    along = [images @ wave, np.einsum("nchw,h->ncw", images, down)]
    return float(np.mean([np.mean(np.abs(each) ** 2) for each in along]))


def checkerboard(data: str, limit: int | None, epochs: int, runs: Path, out: Path) -> dict[str, dict[str, float]]:
    """Train, export and measure the three; draws `checkerboard.png`. Returns by decoder the MSE and the artefact at each period.

    The artefact is the energy of the reconstructions at the frequency of a stride, divided by the energy of the images
    themselves there. It is measured at both strides for all decoders, because values at different frequencies do not compare.
    """
    source = open_images(data, split="test", limit=IMAGES)
    images = as_float(source.read(np.arange(len(source))))
    usual = {period: energy(images, period) for period in PERIODS}
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
            error = float(np.square(restored - images).mean())
            artefacts = {f"artefact_{period}": energy(restored, period) / usual[period] for period in PERIODS}
            results[name] = {"mse": error, **artefacts}
            named.append((name, restored[:12]))
    finally:
        plugins.registry().unregister(plugin)
    subtitle = "energy at a period of 3 pixels, by that of the originals: " + ", ".join(
        f"{name} {each['artefact_3']:.2f}" for name, each in results.items()
    )
    figures.save(
        figures.rows(named, title="Transposed convolutions and grids", subtitle=subtitle), out / "checkerboard.png"
    )
    return results
