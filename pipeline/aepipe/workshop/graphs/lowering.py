"""Transposed convolutions as convolutions, exactly: faster where a runtime has good kernels for Conv only.

docs/lowering.md derives what is done here. In one dimension, with kernel k, stride s and padding p, a transposed convolution is
y[o] = Σ_j x[j]·w[o + p − s·j]. With s = 1 that is a convolution with the flipped kernel. With s > 1 each remainder of
(o + p) mod s, a phase, reads its own taps of the kernel; all phases are one convolution with s times the channels, which
DepthToSpace then interleaves. All bounds are constants: chains of Shape and Gather cost more than they save.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, prod
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass, ShapeInferencePass

from aepipe._types import Array

from .folding import fold
from .linear import Linear, constant, integers, new_constant, only_reader

LEAST = 250_000  # multiplications of a layer for one image
LANES = 16  # channels that a vector unit computes at once: fewer cost as much
WORTH = 0.7  # share of the arithmetic below which a blocked convolution pays for its shuffle
POINTWISE = ("Relu", "LeakyRelu", "Sigmoid", "Tanh", "Clip", "Elu", "HardSigmoid")  # fused into a Conv that they follow
MOST_BLOCK = 5
END = np.iinfo(np.int64).max


def lower(model: onnx.ModelProto, least: int = LEAST) -> onnx.ModelProto:
    """The same function with affine steps folded and transposed convolutions of two dimensions as convolutions.

    Layers of fewer than `least` multiplications per image stay transposed: the shuffle would cost more than it saves. What has
    no constant weights stays as it is too. Results differ from the original's by rounding.
    """
    rewritten = ir.serde.deserialize_model(model)
    fold(rewritten.graph)
    _each(rewritten, "ConvTranspose", lambda graph, layer: _lower_transposed(graph, layer, least))
    _each(rewritten, "Conv", _lower_narrow)
    RemoveUnusedNodesPass()(rewritten)
    return ir.serde.serialize_model(rewritten)


def _each(model: ir.Model, operator: str, rewrite: Callable[[ir.Graph, Linear], None]) -> None:
    ShapeInferencePass()(model)
    for node in list(model.graph):
        layer = Linear.of(node) if node.op_type == operator else None
        if layer is not None and len(layer.kernel) == 2:
            rewrite(model.graph, layer)


@dataclass
class Along:
    """One dimension of a transposed convolution, as a convolution of its phases."""

    begin: int  # padding
    end: int
    first: int  # of what is shuffled together, where the result begins
    excess: int  # and how much of it lies behind the result's end

    @classmethod
    def of(cls, kernel: int, stride: int, pads: tuple[int, int], extra: int) -> Along:
        """`kernel` is dense (dilation filled in), `extra` the output padding."""
        taps = ceil(kernel / stride)  # of the kernel of one phase
        skipped = min(pads[0] // stride, taps - 1)  # positions that padding cuts off whole
        first = pads[0] - stride * skipped
        beyond = first + kernel - stride - pads[0] - pads[1] + extra  # how far the result reaches beyond stride · input
        count = ceil(beyond / stride)  # positions beyond the input's
        end = skipped + count
        return cls(taps - 1 - skipped, max(end, 0), first, stride * (count + max(-end, 0)) - beyond)


def _lower_transposed(graph: ir.Graph, layer: Linear, least: int) -> None:
    node = layer.node
    strides, dilations = integers(node, "strides", [1, 1]), integers(node, "dilations", [1, 1])
    pads, extra = integers(node, "pads", [0] * 4), integers(node, "output_padding", [0, 0])
    before, after = _sizes(node.inputs[0]), _sizes(node.outputs[0])
    if before == [1, 1] and after:
        _lower_to_gemm(graph, layer, after, dilations, pads)
        return
    if (before and prod(before) * layer.weight.size < least) or (strides[0] != strides[1] and not after):
        return  # DepthToSpace has one block size for both dimensions, and without it the sizes are needed
    weight = layer.weight
    if strides != [1, 1]:
        weight, dilations = _dense(weight, dilations), [1, 1]
    kernel = [d * (k - 1) + 1 for d, k in zip(dilations, weight.shape[3:], strict=True)]
    both = [Along.of(kernel[i], strides[i], (pads[i], pads[i + 2]), extra[i]) for i in (0, 1)]
    new = _Replacement(graph, layer)
    padding = [each.begin for each in both] + [each.end for each in both]
    settings = {"pads": padding, "dilations": dilations, "group": layer.groups}
    bias = np.repeat(layer.bias, prod(strides))
    value = new.pointwise(new.conv(_phases(weight, strides), bias, settings))
    full = [size + each.first + each.excess for size, each in zip(after or [], both, strict=bool(after))]
    new.take_over(new.crop(new.shuffle(value, strides, full), both))


def _dense(weight: Array, dilations: list[int]) -> Array:
    """The kernel with the zeros that dilation leaves out filled in."""
    kernel = [d * (k - 1) + 1 for d, k in zip(dilations, weight.shape[3:], strict=True)]
    dense = np.zeros((*weight.shape[:3], *kernel))
    dense[..., :: dilations[0], :: dilations[1]] = weight
    return dense


def _phases(weight: Array, strides: list[int]) -> Array:
    """Kernels of the phases, flipped: [groups, out · s0 · s1, in, taps0, taps1], the phases of one channel side by side."""
    groups, outputs, inputs, k0, k1 = weight.shape
    (s0, s1), (t0, t1) = strides, (ceil(k0 / strides[0]), ceil(k1 / strides[1]))
    padded = np.pad(weight, [(0, 0)] * 3 + [(0, t0 * s0 - k0), (0, t1 * s1 - k1)])
    split = padded.reshape(groups, outputs, inputs, t0, s0, t1, s1)[:, :, :, ::-1, :, ::-1]
    return split.transpose(0, 1, 4, 6, 2, 3, 5).reshape(groups, outputs * s0 * s1, inputs, t0, t1)


def _lower_to_gemm(graph: ir.Graph, layer: Linear, sizes: list[int], dilations: list[int], pads: list[int]) -> None:
    """A map of one position becomes one kernel, cut to the output's size: a matrix product."""
    dense = _dense(layer.weight, dilations)[..., pads[0] :, pads[1] :][..., : sizes[0], : sizes[1]]
    groups, outputs, inputs = dense.shape[:3]
    kernel = np.zeros((groups, outputs, inputs, *sizes))
    kernel[..., : dense.shape[3], : dense.shape[4]] = dense
    matrix = np.zeros((groups, inputs, groups, outputs, *sizes))
    for group in range(groups):
        matrix[group, :, group] = kernel[group].swapaxes(0, 1)
    new = _Replacement(graph, layer)
    value = new.pointwise(new.gemm(matrix.reshape(groups * inputs, -1), np.repeat(layer.bias, prod(sizes))))
    new.take_over(new.reshape(value, [-1, groups * outputs, *sizes]))


def _lower_narrow(graph: ir.Graph, layer: Linear) -> None:
    """A convolution to a few channels, in blocks of b·b positions at once: stride b, kernel k + b − 1, b² times the channels."""
    node = layer.node
    pads, before, after = integers(node, "pads", [0] * 4), _sizes(node.inputs[0]), _sizes(node.outputs[0])
    ones = integers(node, "strides", [1, 1]) + integers(node, "dilations", [1, 1]) + [layer.groups]
    if before is None or after is None or set(ones) != {1}:
        return
    block = min(range(1, MOST_BLOCK + 1), key=lambda b: _cost(layer, after, b))
    if _cost(layer, after, block) > WORTH * _cost(layer, after, 1):
        return
    k0, k1 = layer.kernel
    weight = np.zeros((layer.outputs, block, block, layer.inputs, k0 + block - 1, k1 + block - 1))
    for r0, r1 in np.ndindex(block, block):
        weight[:, r0, r1, :, r0 : r0 + k0, r1 : r1 + k1] = layer.weight[0]
    counts = [ceil(size / block) for size in after]
    ends = [max(counts[i] * block + layer.kernel[i] - 1 - before[i] - pads[i], 0) for i in (0, 1)]
    new = _Replacement(graph, layer)
    settings = {"pads": [*pads[:2], *ends], "strides": [block, block]}
    stacked = weight.reshape(1, -1, *weight.shape[3:])
    value = new.pointwise(new.conv(stacked, np.repeat(layer.bias, block**2), settings))
    both = [Along(0, 0, 0, counts[i] * block - after[i]) for i in (0, 1)]
    new.take_over(new.crop(new.shuffle(value, [block, block], []), both))


def _cost(layer: Linear, sizes: list[int], block: int) -> int:
    """Arithmetic of a map in blocks, where fewer channels than LANES cost as much as LANES."""
    channels = ceil(layer.outputs * block**2 / LANES) * LANES
    return channels * prod(ceil(size / block) * (k + block - 1) for size, k in zip(sizes, layer.kernel, strict=True))


def _sizes(value: ir.Value | None) -> list[int] | None:
    """Height and width of a value, where they are constants."""
    shape = None if value is None else value.shape
    sizes = [] if shape is None else [size for size in list(shape)[2:] if isinstance(size, int)]
    return sizes if shape is not None and len(sizes) == len(shape) - 2 == 2 else None


class _Replacement:
    """Nodes that take the place of a layer and of the pointwise function that follows it."""

    def __init__(self, graph: ir.Graph, layer: Linear):
        self.graph, self.layer = graph, layer.node
        self.last = layer.node  # of those that go
        self.name = layer.node.inputs[1].name or "weight"
        self.tape = ir.tape.Tape(graph)

    def conv(self, weight: Array, bias: Array, settings: dict[str, Any]) -> ir.Value:
        """`weight` as Linear has it."""
        stored = new_constant(self.graph, weight.reshape(-1, *weight.shape[2:]), self.name)
        inputs = [self.layer.inputs[0], stored, new_constant(self.graph, bias, f"{self.name}_bias")]
        return self.tape.op("Conv", inputs, {"kernel_shape": list(weight.shape[3:]), **settings})

    def gemm(self, matrix: Array, bias: Array) -> ir.Value:
        given = self.layer.inputs[0]
        reshape = given.producer() if given is not None else None
        flat = reshape.inputs[0] if reshape is not None and reshape.op_type == "Reshape" else None
        if flat is None or flat.shape is None or len(flat.shape) != 2 or flat.shape[1] != len(matrix):
            flat = self.tape.op("Flatten", [given], {"axis": 1})
        constants = new_constant(self.graph, matrix, self.name), new_constant(self.graph, bias, f"{self.name}_bias")
        return self.tape.op("Gemm", [flat, *constants])

    def pointwise(self, value: ir.Value) -> ir.Value:
        """The function that follows the layer, where it can be fused: before the shuffle, to which it is all one."""
        after = only_reader(self.layer.outputs[0])
        bounds = [] if after is None else list(after.inputs[1:])
        if after is None or after.op_type not in POINTWISE or any(each and constant(each) is None for each in bounds):
            return value
        self.last = after
        return self.tape.op(after.op_type, [value, *bounds], dict(after.attributes))

    def shuffle(self, value: ir.Value, blocks: list[int], sizes: list[int]) -> ir.Value:
        """Channels that belong side by side: [N, C·b0·b1, H, W] to [N, C, H·b0, W·b1], `sizes` where b0 and b1 differ."""
        b0, b1 = blocks
        if b0 == b1:
            return value if b0 == 1 else self.tape.op("DepthToSpace", [value], {"blocksize": b0, "mode": "CRD"})
        height, width = sizes
        split = self.reshape(value, [0, -1, b0, b1, height // b0, width // b1])
        apart = self.tape.op("Transpose", [split], {"perm": [0, 1, 4, 2, 5, 3]})
        return self.reshape(apart, [0, -1, height, width])

    def reshape(self, value: ir.Value, sizes: list[int]) -> ir.Value:
        return self.tape.op("Reshape", [value, new_constant(self.graph, np.array(sizes, np.int64), "sizes")])

    def crop(self, value: ir.Value, both: list[Along]) -> ir.Value:
        if not any(each.first or each.excess for each in both):
            return value
        bounds = [each.first for each in both], [-each.excess or END for each in both], [2, 3]
        constants = [new_constant(self.graph, np.array(each, np.int64), "bounds") for each in bounds]
        return self.tape.op("Slice", [value, *constants])

    def take_over(self, value: ir.Value) -> None:
        """Put the new nodes where the old ones are; `value` is their result."""
        old = self.last.outputs[0]
        value.shape, value.type = old.shape, old.type
        removed = list(dict.fromkeys([self.layer, self.last]))
        ir.convenience.replace_nodes_and_values(self.graph, self.last, removed, self.tape.nodes, [old], [value])
