"""The parity gate for what torch has learned: encoder, decoder and densities must compute what their modules compute."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from aepipe._types import Array
from aepipe.bundle.manifest import Role
from aepipe.bundle.reader import Bundle
from aepipe.errors import DEBUG, AepipeError, ParityError, foreign
from aepipe.runtime.model import Model, cropped
from aepipe.runtime.providers import provider
from aepipe.space import times
from aepipe.workshop.training.model import Autoencoder

from .densities import GIVEN, Densities, Method, offers, run_method, takes_label
from .gate import BATCHES, CODE_TOLERANCE, IMAGE_TOLERANCE, difference, parts_of, scale_of

# A graph of a density may be so many times as far from float64 as torch in float32 is, because it adds in another order. If
# torch is farther from it than the second number, its own result means nothing, and nothing is allowed for it.
OWN_ERROR_COUNTS, OWN_ERROR_AT_MOST = 10, 1e-2


@dataclass
class Found:
    """What the gate found."""

    parity: dict[str, float]  # largest difference by graph: absolute for images, relative to max(1, |a|) elsewhere
    outputs: dict[str, Array]  # what the graphs gave for the last batch
    refused: dict[str, str]  # densities that differ from torch, and by how much


@torch.no_grad()
def check_learned(folder: Path, model: Autoencoder, densities: Densities, images: Array) -> Found:
    """Compare ONNX Runtime on the CPU with torch at batch 1, 2, 7 and 64 on held-out images.

    Raises ParityError where encoder, decoder or the round trip are over their tolerance. A density that is over its own is
    noted, and the bundle can do without it.
    """
    images = np.resize(images, (sum(BATCHES), *images.shape[1:]))
    codes = model.encode(torch.from_numpy(images))
    restored = model.decode(codes)
    found = Found({}, {}, {})
    with Model(Bundle(folder), provider("cpu")) as graphs:
        if not graphs.space.fixed:
            _other_sizes(model, graphs, images[-BATCHES[-1] :])
        got = _in_parts("latent", images, graphs.encode_batch)
        found.parity["latent"] = difference("latent", got, codes.numpy(), CODE_TOLERANCE, relative=True)
        scale = scale_of(restored.numpy(), model.bounded)
        expected = restored.numpy() / scale
        got = _in_parts("image", codes.numpy(), graphs.decode_batch) / scale
        found.parity["image"] = difference("image", got, expected, IMAGE_TOLERANCE, relative=False)
        got = _in_parts("round trip", images, graphs.reconstruct_batch) / scale
        found.parity["round_trip"] = difference("round trip", got, expected, IMAGE_TOLERANCE, relative=False)
        found.outputs["reconstruction"] = got * scale
        if model.outputs:
            found.parity["output"] = _outputs(model, codes, graphs)
        for label, (density, _) in densities.items():
            try:
                with foreign(f"the density {label!r} fails", DEBUG):
                    found.parity |= _density(label, density, codes, graphs, found.outputs)
            except AepipeError as error:
                found.refused[label] = error.message
    return found


def _outputs(model: Autoencoder, codes: torch.Tensor, graphs: Model) -> float:
    """Compare what the objective gives beside the code; raises ParityError."""
    worst = 0.0
    for name, expected in zip(model.outputs, model.output(codes), strict=True):
        got = _in_parts(f"output {name}", codes.numpy(), lambda part, name=name: graphs.outputs(part)[name])
        worst = max(worst, difference(f"output {name}", got, expected.numpy(), CODE_TOLERANCE, relative=True))
    return worst


def _other_sizes(model: Autoencoder, graphs: Model, images: Array) -> None:
    """Compare at two further sizes, smaller and larger than that of the training; raises ParityError, which names the size."""
    multiple = graphs.bundle.manifest.data.multiple
    own = images.shape[2:]
    for sides in (
        tuple(multiple * (2 + k) for k in range(len(own))),
        tuple(side + multiple * (1 + k) for k, side in enumerate(own)),
    ):
        size = times(sides)
        part = _of_sides(images[:3], sides)
        hint = f"no bundle was written; the network says that it takes every multiple of {multiple}"
        with foreign(f"the network fails at {size}", hint, kind=ParityError):
            codes = model.encode(torch.from_numpy(part))
            restored = model.decode(codes).numpy()
        if restored.shape != part.shape:
            raise ParityError(f"the network makes {list(restored.shape)} of samples of {size}", hint)
        with foreign(f"the graphs fail at {size}", hint, kind=ParityError):
            got_codes, got = graphs.encode_batch(part), graphs.reconstruct_batch(part)
        difference(f"latent at {size}", got_codes, codes.numpy(), CODE_TOLERANCE, relative=True)
        scale = scale_of(restored, model.bounded)
        difference(f"round trip at {size}", got / scale, restored / scale, IMAGE_TOLERANCE, relative=False)


def _of_sides(samples: Array, sides: tuple[int, ...]) -> Array:
    """Samples of other sides: cut, and continued by reflection."""
    cut = cropped(samples, sides)
    missing = [(0, side - own) for side, own in zip(sides, cut.shape[2:], strict=True)]
    return np.pad(cut, [(0, 0), (0, 0), *missing], "reflect")


def _density(
    label: str, density: nn.Module, codes: torch.Tensor, graphs: Model, outputs: dict[str, Array]
) -> dict[str, float]:
    """Compare the graphs of one density; raises ParityError."""
    noise = np.random.default_rng(0).standard_normal((len(codes), density.noise_features), dtype=np.float32)
    parity = {}
    for method, name_of_input in GIVEN.items():
        if not offers(density, method):
            continue
        name, values = f"{label}/{method}", noise if name_of_input == "noise" else codes.numpy()
        classes = _in_turn(len(values), density.classes) if takes_label(density, method) else None
        got = _in_parts(name, values, partial(_run, graphs, method, label), classes)
        expected, tolerance = judged_by(density, method, values, classes)
        parity[name] = difference(name, got, expected, tolerance, relative=True)
    labels = torch.from_numpy(_in_turn(len(noise), density.classes)) if takes_label(density, "sample") else None
    drawn = run_method(density, "sample", torch.from_numpy(noise), labels).numpy()
    outputs[f"sample {label}"] = graphs.decode_batch(drawn[: BATCHES[-1]])
    return parity


def _in_turn(count: int, classes: int) -> Array:
    """Labels of all classes, one after the other."""
    return np.arange(count, dtype=np.int64) % classes


def _run(graphs: Model, role: Role, density: str, values: Array, labels: Array | None = None) -> Array:
    return graphs.run(role, values, density, labels)


def judged_by(density: nn.Module, method: Method, values: Array, labels: Array | None = None) -> tuple[Array, float]:
    """What the graph of a density has to give, and how near it has to come, relative to max(1, |a|).

    The judge is the same formula in float64. How exactly float32 can compute it depends on how well it is conditioned: for a
    covariance whose variances differ by six orders of magnitude, torch itself may miss the tolerance by far. So a graph may
    differ from float64 by the tolerance and some times as much as torch in float32 does, as long as that is still a result.
    """
    given, label = torch.from_numpy(values), None if labels is None else torch.from_numpy(labels)
    plain = run_method(density, method, given, label).numpy()
    try:
        exact = run_method(copy.deepcopy(density).double(), method, given.double(), label).numpy()
    except Exception:  # a density may insist on float32, and may be impossible to copy
        return plain, CODE_TOLERANCE
    if exact.shape != plain.shape:
        return plain, CODE_TOLERANCE
    with np.errstate(all="ignore"):  # where something is infinite, `difference` refuses it
        own = float((np.abs(plain - exact) / np.maximum(1, np.abs(exact))).max())
    return exact, CODE_TOLERANCE + OWN_ERROR_COUNTS * own if own <= OWN_ERROR_AT_MOST else CODE_TOLERANCE


def _in_parts(name: str, values: Array, compute: Callable[..., Array], labels: Array | None = None) -> Array:
    """What a graph gives for batches of 1, 2, 7 and 64; raises ParityError where it does not take or keep one of them."""
    made = []
    further = () if labels is None else (parts_of(labels),)
    for part, *of_part in zip(parts_of(values), *further, strict=True):
        try:
            made.append(compute(part, *of_part))
        except AepipeError as error:
            message = f"the graph of {name} does not run on a batch of {len(part)}: {error.message}"
            raise ParityError(message, "no bundle was written; the module must take batches of any size") from error
    for size, each in zip(BATCHES, made, strict=True):
        if each.ndim != made[-1].ndim or len(each) != size:
            message = f"the graph of {name} gives shape {list(each.shape)} for a batch of {size}"
            raise ParityError(message, "no bundle was written; the module's shape must not depend on the batch")
    return np.concatenate(made)
