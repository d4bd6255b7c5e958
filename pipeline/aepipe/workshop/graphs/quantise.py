"""Makes encoder and decoder in int8 and fp16, and accepts them only if the reconstruction error rises no more than allowed.

int8 is static quantisation in QDQ form (Jacob et al., CVPR 2018). Activations are unsigned, and calibration images give their
ranges; weights are signed and have 7 bits, with one scale per output channel. Layers that cost too much accuracy stay fp32.
fp16 graphs have fp32 inputs and outputs.
"""

from __future__ import annotations

import contextlib
import io
import logging
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes.common import TopologicalSortPass

from aepipe._types import Array
from aepipe.bundle.manifest import PRECISE, Role
from aepipe.bundle.onnx_file import parse_onnx
from aepipe.errors import DEBUG, foreign
from aepipe.images.batches import in_parts
from aepipe.progress import say
from aepipe.runtime.providers import Session, onnxruntime, provider

from .lowering import lower

BATCH = 64
LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
KEPT_AT_MOST = 0.5  # the share of layers that may stay fp32; with more of them, an int8 file is not worth having

Graphs = Mapping[Role, Path]  # role to file


@dataclass
class TrialImages:
    """Images for ranges, and pairs of input and target that a precision is judged on; float32 [N, C, H, W] in 0..1."""

    images: Array
    inputs: Array
    targets: Array


@dataclass
class Verdict:
    """What a precision costs; `accepted` is True if the error rose by no more than allowed."""

    precision: str
    mse: float
    fp32: float
    accepted: bool
    fp32_layers: list[str]
    graphs: dict[Role, Path]

    @property
    def rise(self) -> float:
        """How much larger the error is than in fp32, as a share of that error."""
        return self.mse / self.fp32 - 1

    def as_json(self) -> dict[str, Any]:
        return {"mse": self.mse, "fp32": self.fp32, "rise": self.rise, "fp32_layers": self.fp32_layers}


def make(precision: str, graphs: Graphs, images: TrialImages, max_drop: float, *, lowered: bool) -> Verdict:
    """Write `encoder.PRECISION.onnx` and `decoder.PRECISION.onnx` beside the fp32 files, and judge them.

    With `lowered` the fp32 graphs were lowered before, and for int8 all their layers are lowered. Raises AepipeError if the
    tools cannot convert a graph.
    """
    hint = f"export without {precision}, or use another encoder or decoder; {DEBUG}"
    with foreign(f"the graphs cannot be converted to {precision}", hint):
        return _make(precision, graphs, images, max_drop, lowered)


def _make(precision: str, graphs: Graphs, images: TrialImages, max_drop: float, lowered: bool) -> Verdict:
    out = {role: path.with_suffix(f".{precision}.onnx") for role, path in graphs.items()}
    fp32 = reconstruction_error(graphs, images)
    models = {role: onnx.load(path) for role, path in graphs.items()}
    if precision == "fp16":
        for role, model in models.items():
            _write(_half(model), precision, out[role])
        mse = reconstruction_error(out, images)
        return Verdict(precision, mse, fp32, mse <= fp32 * (1 + max_drop), [], out)
    if lowered:  # also the small transposed convolutions, because the tools do not quantise transposed ones
        models = {role: lower(model, least=0) for role, model in models.items()}
    return _int8(models, graphs, out, images, fp32, max_drop)


def _int8(
    models: Mapping[Role, onnx.ModelProto],
    graphs: Graphs,
    out: dict[Role, Path],
    images: TrialImages,
    fp32: float,
    most: float,
) -> Verdict:
    """Put all layers into int8; while that costs too much, put those back to fp32 that cost most, one after the other."""
    codes = _run(graphs["encoder"], images.images)
    given = {"encoder": images.images, "decoder": codes}

    def attempt(kept: set[tuple[Role, str]]) -> float:
        for role, model in models.items():
            names = {name for owner, name in kept if owner == role}
            _write(_quantised(model, given[role], names), "int8", out[role])
        return reconstruction_error(out, images)

    # A layer is known by its role and its name, because a node of the encoder may have the same name as one of the decoder.
    nodes = [(role, node) for role, model in models.items() for node in model.graph.node]
    layers = [(role, node.name) for role, node in nodes if node.op_type in LAYERS]
    kept: list[tuple[Role, str]] = []
    mse = attempt(set())
    if mse > fp32 * (1 + most):
        costs = {layer: attempt(set(layers) - {layer}) for layer in layers}
        for layer in sorted(layers, key=costs.__getitem__, reverse=True)[: int(KEPT_AT_MOST * len(layers))]:
            kept.append(layer)
            mse = attempt(set(kept))
            if mse <= fp32 * (1 + most):
                break
    return Verdict("int8", mse, fp32, mse <= fp32 * (1 + most), [name for _, name in kept], out)


def _quantised(model: onnx.ModelProto, values: Array, kept: set[str]) -> onnx.ModelProto:
    onnxruntime()  # without its telemetry
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Batches(CalibrationDataReader):
        def __init__(self) -> None:
            self.parts = in_parts(values, BATCH)

        def get_next(self) -> dict[str, Array] | None:
            part = next(self.parts, None)
            return None if part is None else {model.graph.input[0].name: part}

    types = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
    # Processors without VNNI add pairs of products in 16 bits: 2 · 255 · 64 fits, 2 · 255 · 127 would saturate.
    settings = {"per_channel": True, "reduce_range": True, **types}
    with TemporaryDirectory() as folder, _silence():
        path = str(Path(folder) / "int8.onnx")
        quantize_static(
            onnx.ModelProto.FromString(model.SerializeToString()),  # a copy, because the tool changes its argument
            path,
            Batches(),
            quant_format=QuantFormat.QDQ,
            nodes_to_exclude=sorted(kept),
            **settings,
        )
        return onnx.load(path)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Silence the tools in this block: they advise how to call them, which is not meant for our user."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _half(model: onnx.ModelProto) -> onnx.ModelProto:
    onnxruntime()
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with _silence():
        converted = convert_float_to_float16(model, keep_io_types=True)
    # The converter adds a cast of the same value, under the same name, for each node that reads it as float32. One is enough.
    once = {node.output[0]: node for node in converted.graph.node}
    del converted.graph.node[:]
    converted.graph.node.extend(once.values())
    half = ir.serde.deserialize_model(converted)
    TopologicalSortPass()(half)  # the converter puts its casts at the end of the graph
    return ir.serde.serialize_model(half)


def _write(model: onnx.ModelProto, precision: str, path: Path) -> None:
    for entry in [each for each in model.metadata_props if not each.key.startswith("aepipe.")]:
        model.metadata_props.remove(entry)
    model.metadata_props.add(key="aepipe.precision", value=precision)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def reconstruction_error(graphs: Graphs, images: TrialImages) -> float:
    """Mean squared error per pixel of encoder and decoder on the CPU."""
    restored = _run(graphs["decoder"], _run(graphs["encoder"], images.inputs))
    return float(np.square(restored - images.targets).mean(dtype=np.float64))


def speed(graphs: Graphs, fp32: Graphs, images: Array, rounds: int = 7) -> float:
    """How many times as fast as fp32 these graphs reconstruct a batch on this machine: the median over paired measurements."""
    batch = np.resize(images, (BATCH, *images.shape[1:]))
    both = [{role: _open(path) for role, path in each.items()} for each in (graphs, fp32)]
    given = {role: input_of(path) for role, path in fp32.items()}

    def seconds(sessions: Mapping[Role, Session]) -> float:
        start = time.perf_counter()
        values = batch
        for role in PRECISE:
            (values,) = sessions[role].run({given[role]: values}).values()
        return time.perf_counter() - start

    pairs = [[seconds(each) for each in both] for _ in range(rounds + 1)][1:]
    return float(np.median([other / own for own, other in pairs]))


def report(verdict: Verdict, times: float) -> None:
    """Tell the user the verdict in one line."""
    kept = f", {len(verdict.fp32_layers)} layers kept in fp32" if verdict.fp32_layers else ""
    fast = (
        f"{times:.2f} × as fast as fp32 here" if times > 1 else f"not faster than fp32 on this machine ({times:.2f} ×)"
    )
    say(f"{verdict.precision}: MSE {verdict.mse:.6f} against {verdict.fp32:.6f} ({verdict.rise:+.2%}){kept}, {fast}")


def _open(path: Path) -> Session:
    return provider("cpu").open(path)


def input_of(path: Path) -> str:
    """What the only input of a graph is called."""
    return next(iter(parse_onnx(path.read_bytes(), path).inputs))


def _run(path: Path, values: Array) -> Array:
    session, name = _open(path), input_of(path)
    return np.concatenate([next(iter(session.run({name: part}).values())) for part in in_parts(values, BATCH)])
