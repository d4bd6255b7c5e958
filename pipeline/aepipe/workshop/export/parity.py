"""The parity gate for what torch has learned: encoder, decoder and densities must compute what their modules compute."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from aepipe._types import Array
from aepipe.bundle.manifest import Role
from aepipe.bundle.reader import Bundle
from aepipe.runtime.model import Model
from aepipe.runtime.providers import provider
from aepipe.workshop.training.model import Autoencoder

from .gate import BATCHES, CODE_TOLERANCE, IMAGE_TOLERANCE, difference, parts_of


@torch.no_grad()
def check_learned(
    folder: Path, model: Autoencoder, densities: Mapping[str, tuple[nn.Module, Any]], images: Array
) -> tuple[dict[str, float], dict[str, Array]]:
    """Compare ONNX Runtime on the CPU with torch at batch 1, 2, 7 and 64 on held-out images.

    Returns the largest difference by graph (absolute for images, relative to max(1, |a|) elsewhere) and what the graphs gave
    for the last batch. Raises ParityError where a difference is over its tolerance.
    """
    images = np.resize(images, (sum(BATCHES), *images.shape[1:]))
    codes = model.encode(torch.from_numpy(images))
    report: dict[str, float] = {}
    outputs: dict[str, Array] = {}
    with Model(Bundle(folder), provider("cpu")) as graphs:

        def compare(name: str, role: Role, values: Array, expected: torch.Tensor, density: str | None = None) -> None:
            parts = [graphs.run(role, part, density) for part in parts_of(values)]
            codes_or_scores = role != "decoder"
            tolerance = CODE_TOLERANCE if codes_or_scores else IMAGE_TOLERANCE
            got = np.concatenate(parts)
            report[name] = difference(name, got, expected.numpy(), tolerance, relative=codes_or_scores)
            outputs[name] = parts[-1]

        compare("latent", "encoder", images, codes)
        compare("image", "decoder", codes.numpy(), model.decode(codes))
        round_trip = np.concatenate([graphs.reconstruct_batch(part) for part in parts_of(images)])
        restored = model.decode(codes).numpy()
        report["round_trip"] = difference("round trip", round_trip, restored, IMAGE_TOLERANCE, relative=False)
        outputs["reconstruction"] = round_trip
        for label, (density, _) in densities.items():
            rng = np.random.default_rng(0)
            noise = rng.standard_normal((len(images), density.noise_features), dtype=np.float32)
            drawn = density.sample(torch.from_numpy(noise))
            compare(f"{label}/sample", "sample", noise, drawn, label)
            compare(f"{label}/log_prob", "log_prob", codes.numpy(), density.log_prob(codes), label)
            if hasattr(density, "noise"):
                compare(f"{label}/noise", "noise", codes.numpy(), density.noise(codes), label)
            outputs[f"sample {label}"] = graphs.decode_batch(drawn.numpy()[:64])
    return report, outputs
