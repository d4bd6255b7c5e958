"""Restoration: an autoencoder for each corruption and one for all, beside the best linear restorer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import aepipe
import numpy as np
from aepipe import figures, plugins
from aepipe.images.corruption import spoiled
from aepipe.images.data import open_images
from aepipe.images.pixels import as_float
from aepipe.images.source import Source
from aepipe.judging.metrics import psnr_between

if TYPE_CHECKING:
    from lecture import Plan

PAIR = {"encoder": "resnet", "decoder": "resnet", "latent_dim": 128, "batch_size": 50, "schedule": "cosine", "lr": 2e-3}
SEED = 0


def restoration(plan: Plan, runs: Path, out: Path) -> dict[str, dict[str, float]]:
    """PSNR in dB, from the mean squared error on the test images, by corruption. Draws `restoration.png`.

    For each corruption there are four: of the spoiled input ("input"), of the best linear restorer ("linear"), of a model for
    this corruption ("own") and of one model for all corruptions ("all").
    """
    test, train = (open_images(plan.data, split=split, limit=plan.limit) for split in ("test", "train"))
    clean, known = _floats(test), _floats(train)
    everything = f'mixed:of="{";".join(plan.corruptions)}"'
    epochs = {**plan.corruptions, everything: plan.restorer_of_all}
    models = {corruption: _model(plan, corruption, epochs[corruption], runs) for corruption in epochs}
    found, shown = {}, []
    for corruption in plan.corruptions:
        corrupt = plugins.create("corruption", corruption)
        bad = spoiled(corrupt, clean, np.arange(len(clean)), SEED)
        restored = {"own": models[corruption].denoise(bad), "all": models[everything].denoise(bad)}
        restored = {"input": bad, "linear": linear(corrupt, known, bad), **restored}
        found[corruption] = {key: psnr_between(images, clean) for key, images in restored.items()}
        shown += [(corruption, bad[:12]), (f"restored, {found[corruption]['own']:.2f} dB", restored["own"][:12])]
    subtitle = (
        f"{PAIR['encoder']}, d = {PAIR['latent_dim']}, a model for each corruption; below each row what it made of it"
    )
    picture = figures.rows([("clean", clean[:12]), *shown], title="Restoration", subtitle=subtitle)
    figures.save(picture, out / "restoration.png")
    return found


def linear(corrupt: Any, train: np.ndarray, bad: np.ndarray) -> np.ndarray:
    """`bad` restored by the best affine map (least squares) from spoiled to clean training images, clipped to 0..1."""
    inputs = corrupt(train, np.random.default_rng(SEED + 1)).reshape(len(train), -1).astype(np.float64)
    targets = train.reshape(len(train), -1).astype(np.float64)
    mean_in, mean_out = inputs.mean(0), targets.mean(0)
    inputs -= mean_in
    covariance = inputs.T @ inputs
    covariance[np.diag_indices_from(covariance)] += 1e-3 * len(train)  # some pixels never vary
    matrix = np.linalg.solve(covariance, inputs.T @ (targets - mean_out))
    restored = (bad.reshape(len(bad), -1) - mean_in) @ matrix + mean_out
    return np.clip(restored, 0, 1).reshape(bad.shape).astype(np.float32)


def _floats(source: Source) -> np.ndarray:
    return as_float(source.read(np.arange(len(source))))


def _model(plan: Plan, corruption: str, epochs: int, runs: Path) -> aepipe.Model:
    name = "restore-" + "".join(each if each.isalnum() or each == "." else "-" for each in corruption).strip("-")[:60]
    run, bundle = runs / name, runs / "exported" / name
    if not (bundle / "manifest.json").exists():
        made = aepipe.resume(run) if (run / "run.json").exists() else None
        recipe = {**PAIR, "epochs": epochs, "limit": plan.limit, "densities": ["gaussian"]}
        made = made or aepipe.fit(plan.data, corrupt=corruption, out=run, **recipe)
        made.export(bundle)
    return aepipe.load(bundle, "cpu", batch_size=500)
