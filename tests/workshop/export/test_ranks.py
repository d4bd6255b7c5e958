"""Built-in pairs of every rank, exported and rewritten: the graphs compute what torch computes, at every size and precision."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from aepipe.space import Size, Space
from aepipe.workshop.export.gate import CODE_TOLERANCE, IMAGE_TOLERANCE
from aepipe.workshop.export.to_onnx import export_graphs, jobs
from aepipe.workshop.graphs.quantise import TrialImages, make
from aepipe.workshop.training.model import Autoencoder, frozen

from tests.helpers.networks import pair

pytestmark = [pytest.mark.trains, pytest.mark.slow]

SIDES = {0: (5,), 1: (48,), 2: (16, 24), 3: (8, 16, 8)}
MAP = ("resnet-map:channels=4,blocks=1,down=2", "resnet-map:channels=4,blocks=1")
PAIRS = [
    *(("mlp:hidden=16", "mlp:hidden=16", count) for count in SIDES),
    *(("pca", "pca", count) for count in (0, 1, 3)),
    *((*each, count) for each in (("conv", "deconv"), ("resnet", "resnet")) for count in (1, 3)),
    ("conv", "upsample", 3),
    *((*MAP, count) for count in (1, 2, 3)),
]
TOLERANCE = {"encode": CODE_TOLERANCE, "decode": IMAGE_TOLERANCE}


def is_open(encoder: str) -> bool:
    return encoder == MAP[0]


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> dict[tuple[str, str, int], tuple[Autoencoder, dict[Any, Path]]]:
    """Each pair with weights as training may leave them, and its graphs; all in one export, because that is faster."""
    folder, work, made = tmp_path_factory.mktemp("ranks"), [], {}
    for number, (encoder, decoder, count) in enumerate(PAIRS):
        sides = SIDES[count][:count] if count else ()
        shape = (2, *sides)
        code = Size(3, *(side // 4 for side in sides)) if is_open(encoder) else Size(3)
        if encoder == "pca":
            code = Size(2)
        model = pair(encoder, decoder, shape, code)
        with torch.no_grad():
            for weight in model.parameters():
                weight += 0.02 * torch.randn_like(weight)
        space, steps, size = Space.of(shape), (1, 1), code
        if is_open(encoder):
            space, steps, size = Space.of((2, *[None] * count)), (4, 1), Size(3, *[None] * count)
        files = {}
        for job in jobs(frozen(model), {}, space, size, code, steps):
            graph = replace(job.graph, file=f"{number}.{job.graph.file}")
            work.append(replace(job, graph=graph))
            files[graph.role] = folder / graph.file
        made[encoder, decoder, count] = model, files
    export_graphs(work, folder, {"pair": "test"}, lowered=True)
    return made


def run(path: Path, values: np.ndarray) -> np.ndarray:
    import onnxruntime as ort

    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: values})[0]


def samples(model: Autoencoder, count: int, longer: int, number: int = 5) -> torch.Tensor:
    sides = [side + 4 * longer * (1 + axis) for axis, side in enumerate(SIDES[count][:count])]
    return torch.rand(number, 2, *sides, generator=torch.Generator().manual_seed(longer))


@pytest.mark.parametrize("key", PAIRS, ids=str)
@torch.no_grad()
def test_graphs_compute_what_torch_computes(exported, key) -> None:
    encoder, _, count = key
    model, files = exported[key]
    for longer in (0, 1, 2) if is_open(encoder) else (0,):
        values = samples(model, count, longer)
        for role, method in (("encoder", "encode"), ("decoder", "decode")):
            expected = getattr(model, method)(values)
            got = run(files[role], values.numpy())
            assert got.shape == expected.shape
            assert np.abs(got - expected.numpy()).max() <= TOLERANCE[method] * max(1, float(expected.abs().max()))
            values = expected


@pytest.mark.parametrize(
    "key",
    [("conv", "deconv", 1), ("conv", "deconv", 3), ("resnet", "resnet", 3), *((*MAP, n) for n in (1, 2, 3))],
    ids=str,
)
@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_precisions_take_every_rank_and_size(exported, key, precision: str) -> None:
    """Quantised at one size, the graphs of open sides work at others too."""
    encoder, _, count = key
    model, files = exported[key]
    images = samples(model, count, 0, 16).numpy()
    verdict = make(precision, files, TrialImages(images, images, images), 0.2, lowered=True)
    assert verdict.accepted, f"the error rises by {verdict.rise:.2%}"
    kinds = [node.op_type for role in verdict.graphs for node in onnx.load(verdict.graphs[role]).graph.node]
    assert ("QuantizeLinear" if precision == "int8" else "Cast") in kinds
    if precision == "int8":
        assert "ConvTranspose" not in kinds
    for longer in (1, 2) if is_open(encoder) else ():
        larger = samples(model, count, longer).numpy()
        exact = run(files["decoder"], run(files["encoder"], larger))
        got = run(verdict.graphs["decoder"], run(verdict.graphs["encoder"], larger))
        assert got.shape == larger.shape and np.abs(got - exact).mean() < 0.05
