"""The parity gate for graphs made of others: they must compute what the runtime makes of the others, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from aepipe._types import Array
from aepipe.images.pixels import as_float, to_bytes
from aepipe.runtime.model import Model
from aepipe.runtime.providers import provider

from .agreement import BATCHES, CODE_TOLERANCE, IMAGE_TOLERANCE, difference, parts_of

if TYPE_CHECKING:
    from aepipe.workshop.graphs.composing import Made

Example = tuple[dict[str, Array], Array]  # inputs by name, and what must come out


def check_made(made: Made, path: Path, graphs: Model, images: Array | None = None) -> float:
    """Run a made graph on the CPU at batch 1, 2, 7 and 64 on `images` [n, C, H, W] in 0..1 (`generate` needs none).

    Returns the largest difference from the runtime's own way, as `check_parity` does; images as bytes must be equal. Raises
    ParityError over the tolerance.
    """
    images = np.zeros((1, *graphs.shape), np.float32) if images is None else images
    images = np.resize(images, (sum(BATCHES), *graphs.shape))
    session = provider("cpu").open(path)
    found = [(*session.run(inputs).values(), expected) for inputs, expected in _examples(made, graphs, images)]
    session.close()
    codes = made.role == "encoder"
    tolerance = CODE_TOLERANCE if codes else 0.0 if made.io == "uint8" else IMAGE_TOLERANCE
    got, expected = (np.concatenate([each[k].astype(np.float32) for each in found]) for k in (0, 1))
    return difference(made.name, got, expected, tolerance, relative=codes, of="the graphs it is made of")


def _examples(made: Made, graphs: Model, images: Array) -> Iterator[Example]:
    """What goes in and must come out, in batches of several sizes."""
    if made.role == "generate":
        noise = np.random.default_rng(0).standard_normal((len(images), *made.inputs["noise"]["shape"][1:]), np.float32)
        for part in parts_of(noise):
            yield {"noise": part}, graphs.decode_batch(graphs.run("sample", part, made.density))
        return
    for part in parts_of(images):
        if made.role == "reconstruct":
            yield {"image": part}, graphs.reconstruct_batch(part)
        elif made.role == "interpolate":
            yield from _interpolations(graphs, part)
        elif made.role == "encoder":
            pixels = to_bytes(part)
            yield {"image": pixels}, graphs.encode_batch(as_float(pixels.transpose(0, 3, 1, 2)))
        else:
            codes = graphs.encode_batch(part)
            yield {"latent": codes}, to_bytes(graphs.decode_batch(codes))


def _interpolations(graphs: Model, images: Array) -> Iterator[Example]:
    """As many pairs as alphas, a single pair for all of them, and one end that they share."""
    alpha = np.linspace(0, 1, len(images), dtype=np.float32)
    turned = images[::-1].copy()
    for a, b in ((images, turned), (images[:1], turned[:1]), (images, turned[:1])):
        share = alpha[:, None]
        codes = (1 - share) * graphs.encode_batch(a) + share * graphs.encode_batch(b)
        yield {"image_a": a, "image_b": b, "alpha": alpha}, graphs.decode_batch(codes)
