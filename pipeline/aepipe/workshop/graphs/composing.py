"""Graphs made of those that a bundle has: encoder and decoder for bytes, and whole tasks in one session. onnx, no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import helper, parser

from aepipe.bundle.manifest import BATCH, _tensor, sha256
from aepipe.bundle.reader import Bundle

from .cutting import rename, values_of

# Pixels are transposed while they are bytes, which are a quarter as large as floats. `Round` rounds halves to the even
# neighbour, as NumPy's rint does; the decoder has already clipped to 0..1.
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
between (float[A, D] start, float[B, D] end, float[N] alpha) => (float[M, D] code) <int64[1] last = {1}, float one = {1}> {
    share = Unsqueeze (alpha, last)
    rest = Sub (one, share)
    from_start = Mul (rest, start)
    from_end = Mul (share, end)
    code = Add (from_start, from_end)
}"""


class Step(NamedTuple):
    """One of the graphs that another is made of."""

    graph: str  # a role, or the text of one of the graphs above
    ends: Mapping[str, str]  # its inputs and outputs, as they are called in the whole
    scope: str = ""  # before the names of its other values; by default its role


@dataclass(frozen=True)
class Made:
    """A graph made of others: how, and what the manifest says of it."""

    role: str
    file: str
    steps: tuple[Step, ...]
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    density: str | None = None
    io: str = "float"

    @property
    def notes(self) -> dict[str, str]:
        return {"role": self.role} if self.density is None else {"role": self.role, "density": self.density}

    @property
    def name(self) -> str:
        """What the parity report calls it."""
        if self.io != "float":
            return f"{self.role}.{self.io}"
        return f"{self.density}/{self.role}" if self.density else self.role

    def entry(self, path: Path) -> dict[str, Any]:
        """What the manifest says of it, once it is written."""
        return {
            **self.notes,
            "precision": "fp32",
            "io": self.io,
            "file": self.file,
            "sha256": sha256(path),
            "inputs": self.inputs,
            "outputs": self.outputs,
        }


def made_graphs(bundle: Bundle) -> Iterator[Made]:
    """All that can be made of a bundle: whole tasks, then encoder and decoder for bytes."""
    c, h, w = bundle.shape
    image, latent = _tensor("NCHW", c, h, w), _tensor("", bundle.latent)
    pixels = _tensor("NHWC", h, w, c, dtype="uint8")
    encode = Step("encoder", {"image": "image", "latent": "latent"})

    def decode(to: str) -> Step:
        return Step("decoder", {"latent": "latent", "image": to})

    yield Made(
        "reconstruct",
        "reconstruct.onnx",
        (encode, decode("reconstruction")),
        {"image": image},
        {"reconstruction": image},
    )
    ends = (Step("encoder", {"image": f"image_{each}", "latent": f"code_{each}"}, f"encoder_{each}") for each in "ab")
    between = Step(BETWEEN, {"start": "code_a", "end": "code_b", "alpha": "alpha", "code": "latent"}, "between")
    # The batch sizes of a and b have different names, because one image may serve for all alphas, and ONNX Runtime shares memory
    # between tensors whose sizes have the same name.
    pair = {f"image_{each}": {**image, "shape": [f"{BATCH}_{each}", c, h, w]} for each in "ab"}
    given = {**pair, "alpha": _tensor("")}
    yield Made("interpolate", "interpolate.onnx", (*ends, between, decode("image")), given, {"image": image})
    for density in bundle.densities:
        yield generator(bundle, density)
    opened = Step(FROM_BYTES, {"bytes": "image", "image": "floats"}, "bytes")
    steps = (opened, Step("encoder", {"image": "floats", "latent": "latent"}))
    yield Made("encoder", "encoder.uint8.onnx", steps, {"image": pixels}, {"latent": latent}, io="uint8")
    closed = Step(TO_BYTES, {"image": "floats", "bytes": "image"}, "bytes")
    yield Made(
        "decoder", "decoder.uint8.onnx", (decode("floats"), closed), {"latent": latent}, {"image": pixels}, io="uint8"
    )


def generator(bundle: Bundle, density: str) -> Made:
    """Noise to images through one density."""
    steps = (
        Step("sample", {"noise": "noise", "latent": "latent"}),
        Step("decoder", {"latent": "latent", "image": "image"}),
    )
    noise, image = _tensor("", bundle.noise_features(density)), _tensor("NCHW", *bundle.shape)
    return Made("generate", f"generate/{density}.onnx", steps, {"noise": noise}, {"image": image}, density)


def write(made: Made, bundle: Bundle, path: Path) -> None:
    """Make a graph of the fp32 graphs of a bundle, with their metadata: one file, opset 18, IR 10. Raises BadInput for a
    bundle that is damaged."""
    whole = onnx.ModelProto()
    for step in made.steps:
        if step.graph in (FROM_BYTES, TO_BYTES, BETWEEN):
            part, weights = onnx.ModelProto(graph=parser.parse_graph(step.graph)), step.scope
        else:
            density = made.density if step.graph == "sample" else None
            part, weights = onnx.load(bundle.graph(step.graph, density).path), step.graph
            _describe(whole, part, made)
        _append(whole, part, step, weights)
    whole.graph.input.extend(_info(*each) for each in made.inputs.items())
    whole.graph.output.extend(_info(*each) for each in made.outputs.items())
    onnx.checker.check_model(whole)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(whole.SerializeToString())


def _describe(whole: onnx.ModelProto, part: onnx.ModelProto, made: Made) -> None:
    """Take over from the bundle's graphs what all of them say."""
    whole.ir_version, whole.graph.name = part.ir_version, part.graph.name
    whole.producer_name, whole.producer_version = part.producer_name, part.producer_version
    notes = {each.key: each.value for each in part.metadata_props}
    own = made.notes if made.io == "float" else {**made.notes, "io": made.io}
    helper.set_model_props(whole, notes | {f"aepipe.{key}": value for key, value in own.items()})
    known = {each.domain for each in whole.opset_import}
    whole.opset_import.extend(each for each in part.opset_import if each.domain not in known)
    functions = {(each.domain, each.name) for each in whole.functions}
    whole.functions.extend(each for each in part.functions if (each.domain, each.name) not in functions)


def _append(whole: onnx.ModelProto, part: onnx.ModelProto, step: Step, weights: str) -> None:
    """Add a graph's nodes under names of their own, and its weights unless the same graph has brought them already."""
    scope = step.scope or step.graph
    names = {name: f"{scope}/{name}" for name in values_of(part.graph) if name}
    names |= {each.name: f"{weights}/{each.name}" for each in part.graph.initializer}
    rename(part.graph, {**names, **step.ends})
    for node in part.graph.node:
        node.name = f"{scope}/{node.name}" if node.name else ""
    known = {each.name for each in whole.graph.initializer}
    whole.graph.node.extend(part.graph.node)
    whole.graph.initializer.extend(each for each in part.graph.initializer if each.name not in known)


def _info(name: str, tensor: Mapping[str, Any]) -> onnx.ValueInfoProto:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(tensor["dtype"]))
    return helper.make_tensor_value_info(name, kind, tensor["shape"])
