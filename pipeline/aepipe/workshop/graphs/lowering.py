"""Rewrites transposed convolutions as convolutions that compute the same. Runtimes with good kernels only for Conv get faster.

docs/lowering.md derives what is done here. In one dimension, with kernel k, stride s and padding p, a transposed convolution is
y[o] = Σ_j x[j]·w[o + p − s·j]. With s = 1 that is a convolution with the flipped kernel. With s > 1 the outputs o fall into s
phases, one for each remainder of (o + p) mod s, and each phase reads its own taps (weights) of the kernel. One convolution with
s times the channels computes all phases, and DepthToSpace interleaves them. All sizes are written into the graph as constants,
because nodes such as Shape and Gather, which would compute them, cost more than they save.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
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

LEAST = 250_000  # a layer with fewer multiplications for one image stays as it is
# How many multiplications take as long as moving one number, by the number of sides: scattering a product, gathering an input,
# interleaving an output. Fitted to times of single layers in ONNX Runtime (docs/lowering.md). Of images it has a faster kernel
# for convolutions, in a blocked layout, so that these are always lowered.
MOVES = {1: (15, 7, 8), 3: (40, 10, 100)}
OPEN = 32  # a side of any size is taken for this long
LANES = 16  # a vector unit computes so many channels at once, so that fewer channels take as long
WORTH = 0.7  # blocks are used if they need at most this share of the arithmetic, because their shuffle takes time too
# Runtimes compute these functions together with the Conv before them.
POINTWISE = ("Relu", "LeakyRelu", "Sigmoid", "Tanh", "Clip", "Elu", "HardSigmoid")
MOST_BLOCK = 5  # the largest side of a block that is tried
END = np.iinfo(np.int64).max  # as the end of a Slice this means: up to the last position


def lower(model: onnx.ModelProto, least: int = LEAST) -> onnx.ModelProto:
    """A model that computes the same, with affine steps folded and transposed convolutions of 1 to 3 dimensions as convolutions.

    A layer with fewer than `least` multiplications per image stays transposed, because the shuffle would cost more than it
    saves; so does a layer of signals or volumes that would be slower. With 0 all are lowered. A layer whose weights are not
    constant stays too. The results differ from the original's only by rounding.
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
        if layer is not None and 1 <= len(layer.kernel) <= 3:
            rewrite(model.graph, layer)


@dataclass
class Along:
    """How a convolution replaces a transposed one along one dimension: what it pads, and what is cropped from its result.

    The convolution computes all phases at each of its positions. Interleaved, one position gives `stride` outputs in a row.

    Example: kernel 4, stride 2, pads (1, 1) makes all four fields 1. Three inputs and a zero at each end give 4 positions of a
    kernel with 2 taps, so 8 outputs; without the first and the last one, the 6 outputs of the transposed convolution remain.
    """

    begin: int  # how many zeros the convolution adds before the first input
    end: int  # how many zeros it adds after the last input
    first: int  # how many of the interleaved outputs are cropped at the beginning
    excess: int  # how many of them are cropped at the end
    more: int  # how many positions more than inputs are computed

    @classmethod
    def of(cls, kernel: int, stride: int, pads: tuple[int, int], extra: int) -> Along:
        """From a transposed convolution: `kernel` is its size with the dilation filled in, `extra` its output padding."""
        taps = ceil(kernel / stride)  # the size of the kernel of one phase
        skipped = min(pads[0] // stride, taps - 1)  # positions that are not computed: all their outputs are padding
        first = pads[0] - stride * skipped
        # The result ends `beyond` outputs after the stride · inputs-th of the interleaved outputs (before it, if negative).
        beyond = first + kernel - stride - pads[0] - pads[1] + extra
        count = ceil(beyond / stride)  # how many more positions than inputs are needed
        end = skipped + count
        more = count + max(-end, 0)
        return cls(taps - 1 - skipped, max(end, 0), first, stride * more - beyond, more)


def _lower_transposed(graph: ir.Graph, layer: Linear, least: int) -> None:
    node, sides = layer.node, len(layer.kernel)
    ones = [1] * sides
    strides, dilations = integers(node, "strides", ones), integers(node, "dilations", ones)
    pads, extra = integers(node, "pads", [0] * (2 * sides)), integers(node, "output_padding", [0] * sides)
    before, after = _sizes(node.inputs[0]), _sizes(node.outputs[0])
    if before == ones and after:
        _lower_to_gemm(graph, layer, after, dilations, pads[:sides])
        return
    if before and prod(before) * layer.weight.size < least:
        return
    weight = layer.weight
    if strides != ones:
        weight, dilations = _dense(weight, dilations), ones
    kernel = [d * (k - 1) + 1 for d, k in zip(dilations, weight.shape[3:], strict=True)]
    both = [Along.of(kernel[i], strides[i], (pads[i], pads[i + sides]), extra[i]) for i in range(sides)]
    phases = _phases(weight, strides)
    if least and sides in MOVES and not _faster(layer, phases, before or [OPEN] * sides, both):
        return
    new = _Replacement(graph, layer)
    padding = [each.begin for each in both] + [each.end for each in both]
    settings = {"pads": padding, "dilations": dilations, "group": layer.groups}
    bias = np.repeat(layer.bias, prod(strides))
    value = new.pointwise(new.conv(phases, bias, settings))
    full = [size + each.first + each.excess for size, each in zip(after or [], both, strict=bool(after))]
    new.take_over(new.crop(new.shuffle(value, strides, full), both))


def _faster(layer: Linear, phases: Array, sizes: list[int], both: list[Along]) -> bool:
    """Whether the convolution with the kernels `phases` takes less time than the transposed one, as MOVES estimates it.

    A transposed convolution multiplies, and then scatters its products; a convolution gathers its inputs, multiplies, and has
    to interleave several phases.
    """
    scatter, gather, interleave = MOVES[len(sizes)]
    made = len(phases) * phases.shape[1]  # how many channels the convolution makes
    positions = prod(size + each.more for size, each in zip(sizes, both, strict=True))
    moved = gather * layer.inputs * prod(phases.shape[3:]) + (interleave * made if made > layer.outputs else 0)
    products = prod(sizes) * (layer.weight.size + scatter * layer.outputs * prod(layer.kernel))
    return positions * (phases.size + moved) < products


def _dense(weight: Array, dilations: list[int]) -> Array:
    """The kernel with a dilation of 1: the gaps between its taps are filled with zeros."""
    kernel = [d * (k - 1) + 1 for d, k in zip(dilations, weight.shape[3:], strict=True)]
    dense = np.zeros((*weight.shape[:3], *kernel))
    dense[_part(slice(None, None, each) for each in dilations)] = weight
    return dense


def _part(sides: Iterable[slice]) -> Any:
    """An index to a part of each of the last axes."""
    return (..., *sides)


def _phases(weight: Array, strides: list[int]) -> Array:
    """The flipped kernels of all phases, [groups, out · strides, in, *taps]; the phases of one channel are neighbours."""
    groups, outputs, inputs, *kernel = weight.shape
    taps = [ceil(k / s) for k, s in zip(kernel, strides, strict=True)]
    missing = [(0, t * s - k) for t, s, k in zip(taps, strides, kernel, strict=True)]
    padded = np.pad(weight, [(0, 0)] * 3 + missing)
    split = padded.reshape(
        groups, outputs, inputs, *(each for pair in zip(taps, strides, strict=True) for each in pair)
    )
    of_taps, of_phases = range(3, split.ndim, 2), range(4, split.ndim, 2)
    flipped = np.flip(split, tuple(of_taps))
    return flipped.transpose(0, 1, *of_phases, 2, *of_taps).reshape(groups, outputs * prod(strides), inputs, *taps)


def _lower_to_gemm(graph: ir.Graph, layer: Linear, sizes: list[int], dilations: list[int], pads: list[int]) -> None:
    """For an input map of one position: its output is the kernel, cut to the output's size, so a matrix product computes it."""
    kept = _part(slice(pad, pad + size) for pad, size in zip(pads, sizes, strict=True))
    dense = _dense(layer.weight, dilations)[kept]
    groups, outputs, inputs = dense.shape[:3]
    kernel = np.zeros((groups, outputs, inputs, *sizes))
    kernel[_part(slice(size) for size in dense.shape[3:])] = dense
    matrix = np.zeros((groups, inputs, groups, outputs, *sizes))
    for group in range(groups):
        matrix[group, :, group] = kernel[group].swapaxes(0, 1)
    new = _Replacement(graph, layer)
    value = new.pointwise(new.gemm(matrix.reshape(groups * inputs, -1), np.repeat(layer.bias, prod(sizes))))
    new.take_over(new.reshape(value, [-1, groups * outputs, *sizes]))


def _lower_narrow(graph: ir.Graph, layer: Linear) -> None:
    """Let a convolution with few output channels compute b·b positions at once: stride b, kernel k + b − 1, b² · channels.

    Only of images: DepthToSpace knows no other shuffle.
    """
    node = layer.node
    if len(layer.kernel) != 2:
        return
    pads, before, after = integers(node, "pads", [0] * 4), _sizes(node.inputs[0]), _sizes(node.outputs[0])
    ones = integers(node, "strides", [1, 1]) + integers(node, "dilations", [1, 1]) + [layer.groups]
    if set(ones) != {1}:
        return
    k0, k1 = layer.kernel
    known = before is not None and after is not None
    if not known and (pads[0] + pads[2], pads[1] + pads[3]) != (k0 - 1, k1 - 1):
        return  # sides that vary are those of the input, or it is not known what they are
    before, after = (before, after) if before and after else ([OPEN] * 2, [OPEN] * 2)
    block = min(range(1, MOST_BLOCK + 1), key=lambda b: _cost(layer, after, b))
    if _cost(layer, after, block) > WORTH * _cost(layer, after, 1):
        return
    weight = np.zeros((layer.outputs, block, block, layer.inputs, k0 + block - 1, k1 + block - 1))
    for r0, r1 in np.ndindex(block, block):
        weight[:, r0, r1, :, r0 : r0 + k0, r1 : r1 + k1] = layer.weight[0]
    counts = [ceil(size / block) for size in after]
    ends = [max(counts[i] * block + layer.kernel[i] - 1 - before[i] - pads[i], 0) for i in (0, 1)]
    if not known:
        ends = [end + block - 1 for end in pads[2:]]  # enough that the last block is whole, whatever the sides are
    new = _Replacement(graph, layer)
    settings = {"pads": [*pads[:2], *ends], "strides": [block, block]}
    stacked = weight.reshape(1, -1, *weight.shape[3:])
    value = new.pointwise(new.conv(stacked, np.repeat(layer.bias, block**2), settings))
    value = new.shuffle(value, [block, block], [])
    both = [Along(0, 0, 0, counts[i] * block - after[i], 0) for i in (0, 1)]
    new.take_over(new.crop(value, both) if known else new.crop_to_input(value))


def _cost(layer: Linear, sizes: list[int], block: int) -> int:
    """The arithmetic of a map that is computed in blocks; the channels are rounded up to a multiple of LANES."""
    channels = ceil(layer.outputs * block**2 / LANES) * LANES
    return channels * prod(ceil(size / block) * (k + block - 1) for size, k in zip(sizes, layer.kernel, strict=True))


def _sizes(value: ir.Value | None) -> list[int] | None:
    """The sides of a value [N, C, *sides], or None if they are not constants."""
    shape = None if value is None else value.shape
    sizes = [] if shape is None else [size for size in list(shape)[2:] if isinstance(size, int)]
    return sizes if shape is not None and len(sizes) == len(shape) - 2 >= 1 else None


class _Replacement:
    """Collects the nodes that replace a layer and the pointwise function that follows it."""

    def __init__(self, graph: ir.Graph, layer: Linear):
        self.graph, self.layer, self.outputs = graph, layer.node, layer.outputs
        self.last = layer.node  # the last of the nodes that are replaced
        self.name = layer.node.inputs[1].name or "weight"
        self.tape = ir.tape.Tape(graph)

    def conv(self, weight: Array, bias: Array, settings: dict[str, Any]) -> ir.Value:
        """A Conv on the layer's input; `weight` has the form of `Linear.weight`."""
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
        """Apply the function that follows the layer, if it can be fused. It works on `value`, which is not shuffled yet.

        That changes nothing, because the shuffle only moves values.
        """
        after = only_reader(self.layer.outputs[0])
        bounds = [] if after is None else list(after.inputs[1:])
        if after is None or after.op_type not in POINTWISE or any(each and constant(each) is None for each in bounds):
            return value
        self.last = after
        return self.tape.op(after.op_type, [value, *bounds], dict(after.attributes))

    def shuffle(self, value: ir.Value, blocks: list[int], sizes: list[int]) -> ir.Value:
        """Interleave blocks of channels: [N, C·b0·b1, H, W] becomes [N, C, H·b0, W·b1], and alike for one and three sides.

        `sizes` are the sides of the result, or empty if they vary.
        """
        if set(blocks) == {1}:
            return value
        if len(blocks) == 2 and blocks[0] == blocks[1]:
            return self.tape.op("DepthToSpace", [value], {"blocksize": blocks[0], "mode": "CRD"})
        count, channels = len(blocks), self.outputs
        order = [axis for side in range(count) for axis in (2 + count + side, 2 + side)]
        if sizes or count == 1:
            sizes = sizes or [-1]
            inner = [size // block if size > 0 else size for size, block in zip(sizes, blocks, strict=True)]
            split = self.reshape(value, [0, channels, *blocks, *inner])
            return self.reshape(self.tape.op("Transpose", [split], {"perm": [0, 1, *order]}), [0, channels, *sizes])
        # A Reshape leaves one size open at most, so that the graph has to compute several that vary.
        inner_sizes = self.tape.op("Shape", [value], {"start": 2})
        outer_sizes = self.tape.op("Mul", [inner_sizes, self.integers(blocks)])
        split = self.reshape(value, [0, channels, *blocks], inner_sizes)
        return self.reshape(self.tape.op("Transpose", [split], {"perm": [0, 1, *order]}), [0, channels], outer_sizes)

    def integers(self, values: list[int], stem: str = "sizes") -> ir.Value:
        return new_constant(self.graph, np.array(values, np.int64), stem)

    def reshape(self, value: ir.Value, sizes: list[int], more: ir.Value | None = None) -> ir.Value:
        """A Reshape to `sizes`, followed by the computed sizes `more`."""
        wanted = self.integers(sizes)
        wanted = wanted if more is None else self.tape.op("Concat", [wanted, more], {"axis": 0})
        return self.tape.op("Reshape", [value, wanted])

    def crop(self, value: ir.Value, both: list[Along]) -> ir.Value:
        if not any(each.first or each.excess for each in both):
            return value
        bounds = [each.first for each in both], [-each.excess or END for each in both], list(range(2, 2 + len(both)))
        constants = [self.integers(each, "bounds") for each in bounds]
        return self.tape.op("Slice", [value, *constants])

    def crop_to_input(self, value: ir.Value) -> ir.Value:
        """Crop an image to the sides of the layer's input, which vary."""
        sides = self.tape.op("Shape", [self.layer.inputs[0]], {"start": 2})
        return self.tape.op("Slice", [value, self.integers([0, 0], "bounds"), sides, self.integers([2, 3], "bounds")])

    def take_over(self, value: ir.Value) -> None:
        """Replace the old nodes by the new ones; `value` is the result of the new ones."""
        old = self.last.outputs[0]
        value.shape, value.type = old.shape, old.type
        removed = list(dict.fromkeys([self.layer, self.last]))
        ir.convenience.replace_nodes_and_values(self.graph, self.last, removed, self.tape.nodes, [old], [value])
