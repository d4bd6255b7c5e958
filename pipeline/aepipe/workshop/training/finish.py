"""Computes what a run holds besides weights when its epochs are over: codes, held-out images, metrics, densities."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from aepipe import figures, plugins
from aepipe._types import Corrupt
from aepipe.errors import AepipeError
from aepipe.images.batches import batches
from aepipe.images.data import open_test_split
from aepipe.images.source import Source
from aepipe.judging.metrics import evaluate

from .model import Autoencoder, as_tensor, selected_by
from .names import printable
from .run import RunFolder, save_arrays
from .training_data import TrainingData

BATCH = 500
HELD_OUT = 256
MEAN_OF = 1000  # samples, of which the mean is taken
VALIDATION_STREAM = 0  # epochs count from 1, so this generator is never used for training


@torch.no_grad()
def validation_error(model: Autoencoder, data: TrainingData, corrupt: Corrupt | None, seed: int, bf16: bool) -> float:
    """Mean squared error per pixel, on the scale 0..1, of the validation images: of reconstructing them or, with a
    corruption, of restoring them. NaN if a code is not finite."""
    model.eval()
    total = 0.0
    for images, target in data.pairs(data.validation, BATCH, corrupt, [seed, VALIDATION_STREAM]):
        with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
            codes = model.encode(images)
            output = model.decode(codes)
        if not torch.isfinite(codes).all():  # clipping would hide an infinite output
            return math.nan
        total += float((output.float() - target).square().sum(dtype=torch.float64))
    return total / (len(data.validation) * int(np.prod(data.shape)))


def finish(run: RunFolder, data: TrainingData, corrupt: Corrupt | None) -> None:
    """Write codes, held-out images, densities and metrics, computed with the best weights, and mark the run as finished."""
    model = run.model().to(data.device)
    needed = run.latent.shape != run.shape or run.config["densities_wanted"]
    codes = _codes(model, data) if needed else np.empty((0, *run.shape), np.float32)  # they would be the samples
    labels = None if data.source.labels is None else data.source.labels[data.good[data.train]][: len(codes)]
    kept = {} if labels is None else {"labels": labels}
    save_arrays(run.directory / "codes.npz", codes=codes, **kept)
    held_out = data.good[data.validation[:HELD_OUT]]
    save_arrays(run.directory / "heldout.npz", images=data.fixed().read(held_out))
    fitted = []
    for record in run.config["densities_wanted"]:
        choice = plugins.choose("density", record)
        run.keep_density(choice, codes, labels)
        fitted.append(choice.label)
    metrics = _metrics(run, model, data, corrupt)
    _draw(run, metrics)
    run.update(metrics=metrics, densities=fitted, finished=True)


def _draw(run: RunFolder, metrics: dict[str, Any]) -> None:
    """Draw the training curve, if there is more than one epoch and matplotlib is installed."""
    history = run.history
    if len(history) > 1:
        subtitle = f"d = {run.latent} · {metrics['split']} MSE {metrics['mse']:.5f} after {len(history)} epochs"
        with contextlib.suppress(AepipeError):
            figures.curve(history, run.directory / "curve.png", title=printable(run.directory.name), subtitle=subtitle)


@torch.no_grad()
def _codes(model: Autoencoder, data: TrainingData) -> np.ndarray:
    parts = [model.encode(images).float().cpu() for images in data.batches(data.train, BATCH)]
    return torch.cat(parts).numpy()


def _metrics(run: RunFolder, model: Autoencoder, data: TrainingData, corrupt: Corrupt | None) -> dict[str, Any]:
    """The metrics in fp32, of the test images if the data have a test split, else of the validation images."""
    facts, history = run.config["data"], run.history
    selects = selected_by(model.objective, history[0])
    best = min(reversed(history), key=lambda row: row[selects])
    result: dict[str, Any] = {"epochs": history[-1]["epoch"], "best_epoch": best["epoch"]}
    asked = {"raw": run.raw, "layout": facts.get("layout")}
    if data.augment.reshape:  # samples are as they were read for the training, before they get their shape
        files = data.source.paths is not None and run.shape[0] in (1, 3)
        asked |= {"image_size": facts["image_size"], "channels": run.shape[0] if files else None}
    else:
        asked |= {"shape": run.shape}
    test = open_test_split(facts["spec"], **asked) if facts["split"] == "train" else None
    source = data.fixed(test) if test else data.fixed().pick(data.good[data.validation])
    seed = run.config["recipe"]["seed"]
    measured = evaluate(
        reconstruction(model), source, corrupt=corrupt, seed=seed, skip_bad=facts["skip_bad"], unbounded=not run.bounded
    )
    return {
        **result,
        "split": "test" if test else "validation",
        **measured,
        "mse_of_mean": _error_of_mean(source, facts["skip_bad"]),
    }


def _error_of_mean(source: Source, skip_bad: bool) -> float:
    """The mean squared error of one sample in the place of all: of the mean, over at most MEAN_OF of them. A model whose error
    is near to that has learned nothing of what tells samples apart."""
    some = source.pick(np.linspace(0, len(source) - 1, min(len(source), MEAN_OF)).astype(int))
    parts = [samples for _, samples in batches(some, BATCH, skip_bad=skip_bad)]
    return float(np.concatenate(parts).var(0, dtype=np.float64).mean())


def reconstruction(model: Autoencoder) -> Callable[[np.ndarray], np.ndarray]:
    """The model as a function on arrays [N, C, *sides], in fp32 on its device."""

    @torch.no_grad()
    def reconstruct(images: np.ndarray) -> np.ndarray:
        return model.decode(model.encode(as_tensor(images).to(model.mean.device))).cpu().numpy()

    return reconstruct
