"""Test vectors: an input and what the bundle makes of it, stage by stage, by which a program in any language checks itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from aepipe._types import Array
from aepipe.bundle.manifest import VECTORS
from aepipe.bundle.reader import Bundle
from aepipe.images.data import open_images
from aepipe.images.pixels import as_float
from aepipe.runtime.model import Model
from aepipe.runtime.providers import provider

from .gate import CODE_TOLERANCE

STEPS = 5  # an open side has so many steps, and a pixel more, so that padding shows


def write_vectors(folder: Path) -> None:
    """Write vectors/ into a bundle: input (.png for images of bytes, else .npy), prepared, latent and reconstruction (.npy, each
    a batch of one), and scores.json, whose log-densities are of label 0 where a density is told one. The input is drawn by a
    formula and says nothing of the training data."""
    place = folder / VECTORS
    place.mkdir()
    with Model(Bundle(folder), provider("cpu"), threads=1) as model:
        values = _values(model)
        if model.space.kind == "image" and model.raw is None and model.space.channels in (1, 3):
            path = place / "input.png"
            _picture(values).save(path)
        else:
            path = place / "input.npy"
            np.save(path, values)
        source = open_images(path, shape=model.shape, raw=model.raw)
        prepared = as_float(source.read_whole(0)[None]) if source.own_sizes else as_float(source.read(np.array([0])))
        codes, restored = model.encode_batch(prepared), model.reconstruct_batch(prepared)
        for name, array in (("prepared", prepared), ("latent", codes), ("reconstruction", restored)):
            np.save(place / f"{name}.npy", array)
        scores: dict[str, Any] = {"error": float(model.score_batch(prepared)["error"][0]), "log_density": {}}
        scores["tolerance"] = CODE_TOLERANCE  # for |a - b| / max(1, |a|) of every number
        for density in model.bundle.densities:
            if not model.bundle.has("log_prob", density):
                continue
            label = 0 if model.bundle.takes_label("log_prob", density) else None
            value = float(model.score_batch(prepared, density, label)["log_density"][0])
            scores["log_density"][density] = value if np.isfinite(value) else None
        (place / "scores.json").write_text(json.dumps(scores, indent=2) + "\n", encoding="utf-8")


def _values(model: Model) -> Array:
    """One sample [1, C, *sides] of waves, in raw values where there are any, as bytes of images, in 0..1 else."""
    open_side = model.multiple * STEPS + 1
    shape = [side or open_side for side in model.shape]
    places = np.meshgrid(*(np.arange(side) for side in shape), indexing="ij")
    waves = 0.5 + 0.5 * np.sin(sum((k + 2) * each / 7.0 for k, each in enumerate(places)))
    if model.raw is None:
        return (
            np.rint(255 * waves).astype(np.uint8)[None]
            if model.space.kind == "image"
            else waves.astype(np.float32)[None]
        )
    low, high = model.raw.range or (-1.0, 1.0)
    return (low + (high - low) * waves)[None].astype(model.raw.dtype)


def _picture(values: Array) -> Any:
    """A picture in colour, with a side more than the model's where that is fixed, so that preparing it has to crop and resize."""
    from PIL import Image

    plane = np.resize(values[0], (3, *values.shape[2:])) if values.shape[1] == 1 else values[0][:3]
    image = Image.fromarray(np.ascontiguousarray(np.stack([plane[0], plane[1][::-1], plane[2][:, ::-1]], 2)))
    return image.resize((2 * image.width + 3, 2 * image.height), Image.Resampling.NEAREST)
