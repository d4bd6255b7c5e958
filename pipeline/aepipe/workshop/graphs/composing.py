"""Graphs made of those that a bundle has: encoder and decoder for bytes, and whole tasks in one session. onnx, no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from onnx import helper, parser

from aepipe.bundle.manifest import (
    BATCH,
    ENDS,
    LABEL,
    Graph,
    Io,
    Role,
    Tensor,
    ends_of,
    graph_file,
    tensor,
)
from aepipe.bundle.reader import Bundle
from aepipe.space import Kind, Space

# Bytes are moved while they are bytes, a quarter of what floats are. `Round` takes halves to the even neighbour, as NumPy's rint
# does, and the decoder has clipped to 0..1 already.
FROM_BYTES = """
from_bytes (uint8[N, H, W, C] bytes) => (float[N, C, H, W] image) <float white = {255}> {
    planes = Transpose <perm = [0, 3, 1, 2]> (bytes)
    levels = Cast <to = 1> (planes)
    image = Div (levels, white)
}"""
TO_BYTES = """
to_bytes (float[N, C, H, W] image) => (uint8[N, H, W, C] bytes) <float white = {255}> {
    levels = Mul (image, white)
    whole = Round (levels)
    planes = Cast <to = 2> (whole)
    bytes = Transpose <perm = [0, 2, 3, 1]> (planes)
}"""
BETWEEN = """
between (float[{code}] start, float[{code}] end, float[N] alpha) => (float[{code}] code)
<int64[{rank}] last = {{{axes}}}, float one = {{1}}> {{
    share = Unsqueeze (alpha, last)
    rest = Sub (one, share)
    from_start = Mul (rest, start)
    from_end = Mul (share, end)
    code = Add (from_start, from_end)
}}"""


def between_codes(rank: int) -> str:
    """The graph of what lies between two codes of so many dimensions."""
    dimensions = [f"D{k}" for k in range(rank)]
    axes = ", ".join(str(k + 1) for k in range(rank))
    return BETWEEN.format(code=", ".join(["A", *dimensions]), rank=rank, axes=axes)


class Step(NamedTuple):
    """One of the graphs that another is made of."""

    graph: Role | str  # a role, or the text of one of the graphs above
    ends: Mapping[str, str]  # its inputs and outputs, as they are called in the whole
    scope: str = ""  # before the names of its other values; by default its role


@dataclass(frozen=True)
class Composed:
    """A graph made of others: of which ones, and what the manifest will say of the file."""

    steps: tuple[Step, ...]
    graph: Graph


def composed_graphs(bundle: Bundle) -> Iterator[Composed]:
    """All that can be made of a bundle: whole tasks, then encoder and decoder for bytes."""
    space, kind = bundle.space, bundle.space.kind
    sample, latent = bundle.tensor_of("encoder", space.kind), bundle.tensor_of("encoder", "latent")
    encode = Step("encoder", {kind: kind, "latent": "latent"})
    yield _composed(space, "reconstruct", (encode, _decode(kind, "reconstruction")), (sample,), sample)
    ends = (Step("encoder", {kind: f"{kind}_{each}", "latent": f"code_{each}"}, f"encoder_{each}") for each in "ab")
    between = Step(
        between_codes(len(latent.shape) - 1),
        {"start": "code_a", "end": "code_b", "alpha": "alpha", "code": "latent"},
        "between",
    )
    # Sizes of their own, because one image may serve for all alphas: ONNX Runtime shares memory between tensors whose sizes
    # have one name.
    pair = (replace(sample, shape=(f"{BATCH}_{each}", *sample.shape[1:])) for each in "ab")
    yield _composed(space, "interpolate", (*ends, between, _decode(kind, kind)), (*pair, tensor()), sample)
    for density in bundle.densities:
        yield generator(bundle, density)
    if kind != "image":
        return
    channels, *sides = sample.shape[1:]
    pixels = tensor(*sides, channels, layout="NHWC", dtype="uint8")
    opened = Step(FROM_BYTES, {"bytes": "image", "image": "floats"}, "bytes")
    steps = (opened, Step("encoder", {"image": "floats", "latent": "latent"}))
    yield _composed(space, "encoder", steps, (pixels,), latent, io="uint8")
    closed = Step(TO_BYTES, {"image": "floats", "bytes": "image"}, "bytes")
    yield _composed(space, "decoder", (_decode(kind, "floats"), closed), (latent,), pixels, io="uint8")


def generator(bundle: Bundle, density: str) -> Composed:
    """Noise to images through one density."""
    labels = {LABEL: tensor(dtype="int64")} if bundle.takes_label("sample", density) else {}
    draw = Step("sample", {name: name for name in ("noise", "latent", *labels)})
    space = bundle.space
    steps = (draw, _decode(space.kind, space.kind))
    sample = bundle.tensor_of("decoder", space.kind)
    made = _composed(space, "generate", steps, (tensor(bundle.noise_features(density)),), sample, density=density)
    return replace(made, graph=replace(made.graph, inputs=made.graph.inputs | labels))


def _decode(kind: Kind, to: str) -> Step:
    return Step("decoder", {"latent": "latent", kind: to})


def _composed(
    space: Space,
    role: Role,
    steps: tuple[Step, ...],
    given: tuple[Tensor, ...],
    made: Tensor,
    *,
    density: str | None = None,
    io: Io = "float",
) -> Composed:
    ends = ends_of(role, space.kind)
    inputs, outputs = dict(zip(ends.inputs, given, strict=True)), {ends.output: made}
    file = graph_file(role, density, io=io)
    return Composed(steps, Graph(role=role, density=density, io=io, file=file, inputs=inputs, outputs=outputs))


def write(composed: Composed, bundle: Bundle, path: Path) -> None:
    """Make a graph of the fp32 graphs of a bundle, with their metadata: one file, opset 18, IR 10. Raises BadInput for a
    bundle that is damaged."""
    whole = onnx.ModelProto()
    for step in composed.steps:
        weights: str = step.graph
        if step.graph in ENDS:
            density = composed.graph.density if step.graph == "sample" else None
            part = onnx.load_from_string(bundle.content(bundle.find(step.graph, density)).content)
            _describe(whole, part, composed.graph.notes)
        else:
            part, weights = onnx.ModelProto(graph=parser.parse_graph(step.graph)), step.scope
        _append(whole, part, step, weights)
    whole.graph.input.extend(_info(*each) for each in composed.graph.inputs.items())
    whole.graph.output.extend(_info(*each) for each in composed.graph.outputs.items())
    onnx.checker.check_model(whole)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(whole.SerializeToString())


def _describe(whole: onnx.ModelProto, part: onnx.ModelProto, own: Mapping[str, str]) -> None:
    """Take over from the bundle's graphs what all of them say, and add the graph's own notes."""
    whole.ir_version, whole.graph.name = part.ir_version, part.graph.name
    whole.producer_name, whole.producer_version = part.producer_name, part.producer_version
    notes = {each.key: each.value for each in part.metadata_props}
    helper.set_model_props(whole, notes | {f"aepipe.{key}": value for key, value in own.items()})
    known = {each.domain for each in whole.opset_import}
    whole.opset_import.extend(each for each in part.opset_import if each.domain not in known)
    functions = {(each.domain, each.name) for each in whole.functions}
    whole.functions.extend(each for each in part.functions if (each.domain, each.name) not in functions)


def _append(whole: onnx.ModelProto, part: onnx.ModelProto, step: Step, weights: str) -> None:
    """Add a graph's nodes under names of their own, and its weights unless the same graph has brought them already."""
    scope = step.scope or step.graph
    names = {name: f"{scope}/{name}" for name in _values_of(part.graph) if name}
    names |= {each.name: f"{weights}/{each.name}" for each in part.graph.initializer}
    _rename(part.graph, {**names, **step.ends})
    for node in part.graph.node:
        node.name = f"{scope}/{node.name}" if node.name else ""
    known = {each.name for each in whole.graph.initializer}
    whole.graph.node.extend(part.graph.node)
    whole.graph.initializer.extend(each for each in part.graph.initializer if each.name not in known)


def _info(name: str, each: Tensor) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(each.dtype)), each.shape)


def _bodies(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs inside a node, such as the branches of an If."""
    for attribute in node.attribute:
        yield from ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs)


def _with_bodies(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    """The node and all nodes inside it."""
    yield node
    for body in _bodies(node):
        for inner in body.node:
            yield from _with_bodies(inner)


def _values_of(graph: onnx.GraphProto) -> set[str]:
    """The names of all values that nodes take or give, in the graphs inside nodes too, and of all weights."""
    inner = {name for node in graph.node for each in _with_bodies(node) for name in (*each.input, *each.output)}
    return inner | {each.name for each in graph.initializer}


def _rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Give values new names, in the graphs inside nodes too."""
    for each in chain(graph.input, graph.output, graph.initializer, graph.value_info):
        each.name = names.get(each.name, each.name)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        for body in _bodies(node):
            _rename(body, names)
