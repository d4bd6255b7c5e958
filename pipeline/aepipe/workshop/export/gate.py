"""The parity gate: every graph must compute what it was made of computes, or no bundle is written.

Graphs that are composed of others are compared here with what the runtime makes of those, one after the other; no torch is
needed. Encoder, decoder and densities are compared with their torch modules in parity.py. Both happen at several batch sizes.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from aepipe._types import Array
from aepipe.bundle.manifest import LABEL, Graph
from aepipe.errors import ParityError
from aepipe.images.pixels import as_bytes, as_float
from aepipe.runtime.model import Model
from aepipe.runtime.providers import provider

if TYPE_CHECKING:
    from aepipe.workshop.graphs.composing import Composed

BATCHES = (1, 2, 7, 64)
IMAGE_TOLERANCE = 1e-5  # absolute, for images in 0..1
CODE_TOLERANCE = 1e-4  # |a − b| ≤ tolerance · max(1, |a|), for codes and log-densities

Example = tuple[dict[str, Array], Array]  # inputs by name, and what must come out


def parts_of(values: Array) -> list[Array]:
    """The first sum(BATCHES) rows in batches of those sizes."""
    edges = np.cumsum((0, *BATCHES))
    return [values[start:end] for start, end in pairwise(edges)]


def difference(name: str, got: Array, expected: Array, tolerance: float, *, relative: bool, of: str = "torch") -> float:
    """The largest difference between what the graph of `name` gave and what `of` gives; raises ParityError over `tolerance`."""
    if got.shape != expected.shape:
        message = f"the graph of {name} gives shape {list(got.shape)}, {of} gives {list(expected.shape)}"
        raise ParityError(message, "no bundle was written; the module's shape must not depend on the batch")
    worst = float((np.abs(got - expected) / (np.maximum(1, np.abs(expected)) if relative else 1)).max())
    if not worst <= tolerance:
        message = f"the graph of {name} differs from {of} by {worst:.2g}, the tolerance is {tolerance:.0e}"
        hint = "no bundle was written; look for operations that depend on the batch or on randomness"
        raise ParityError(message, hint)
    return worst


def scale_of(samples: Array, bounded: bool) -> float:
    """What differences of samples are measured by: 1 for values in 0..1, else the largest value."""
    return 1.0 if bounded else max(float(np.abs(samples).max()), 1e-30)


def check_composed(composed: Composed, path: Path, graphs: Model, images: Array | None = None) -> float:
    """Run a composed graph on the CPU at batch 1, 2, 7 and 64 on samples [n, C, *sides] (`generate` needs none).

    Returns the largest difference from the runtime's own way, as the other check does; images as bytes must be equal. Raises
    ParityError over the tolerance.
    """
    graph = composed.graph
    if images is None:
        images = np.zeros((1, *(side or graphs.bundle.manifest.data.multiple for side in graphs.shape)), np.float32)
    images = np.resize(images, (sum(BATCHES), *images.shape[1:]))
    session = provider("cpu").open(path)
    found = [(*session.run(inputs).values(), expected) for inputs, expected in _examples(graph, graphs, images)]
    session.close()
    codes = graph.role == "encoder"
    tolerance = CODE_TOLERANCE if codes else 0.0 if graph.io == "uint8" else IMAGE_TOLERANCE
    got, expected = (np.concatenate([each[k].astype(np.float32) for each in found]) for k in (0, 1))
    if not codes and not graphs.bounded:
        got, expected = (each / scale_of(expected, bounded=False) for each in (got, expected))
    return difference(graph.name, got, expected, tolerance, relative=codes, of="the graphs it is made of")


def _examples(graph: Graph, graphs: Model, images: Array) -> Iterator[Example]:
    """What goes in and must come out, in batches of several sizes."""
    if graph.role == "generate":
        sizes = [int(size) for size in graph.inputs["noise"].shape[1:]]
        noise = np.random.default_rng(0).standard_normal((len(images), *sizes), np.float32)
        classes = graphs.bundle.manifest.classes or 1
        labels = np.arange(len(images), dtype=np.int64) % classes
        for part, own in zip(parts_of(noise), parts_of(labels), strict=True):
            told = {LABEL: own} if graph.takes_label else {}
            codes = graphs.run("sample", part, graph.density, told.get(LABEL))
            yield {"noise": part} | told, graphs.decode_batch(codes)
        return
    for part in parts_of(images):
        if graph.role == "reconstruct":
            yield {graphs.space.kind: part}, graphs.reconstruct_batch(part)
        elif graph.role == "interpolate":
            yield from _interpolations(graphs, part)
        elif graph.role == "encoder":
            pixels = _channels_last(as_bytes(part))
            yield {"image": pixels}, graphs.encode_batch(as_float(pixels.transpose(0, 3, 1, 2)))
        else:
            codes = graphs.encode_batch(part)
            yield {"latent": codes}, _channels_last(as_bytes(graphs.decode_batch(codes)))


def _interpolations(graphs: Model, images: Array) -> Iterator[Example]:
    """As many pairs as alphas, a single pair for all of them, and one end that they share."""
    alpha = np.linspace(0, 1, len(images), dtype=np.float32)
    turned = images[::-1].copy()
    for a, b in ((images, turned), (images[:1], turned[:1]), (images, turned[:1])):
        start, end, kind = graphs.encode_batch(a), graphs.encode_batch(b), graphs.space.kind
        share = alpha.reshape(-1, *(1,) * (start.ndim - 1))
        codes = (1 - share) * start + share * end
        yield {f"{kind}_a": a, f"{kind}_b": b, "alpha": alpha}, graphs.decode_batch(codes)


def _channels_last(images: Array) -> Array:
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1))
