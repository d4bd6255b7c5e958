"""Folds affine steps around a linear layer into its weights: standardisation, scales and shifts, batch norms.

conv(a·x + b) and a·conv(x) + b are again convolutions, with other weights and another bias. So a folded step costs nothing
when the graph runs. The new weights are computed in float64, so that the results differ only by rounding.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from aepipe._types import Array

from .linear import Linear, bypass, constant, number, only_reader

Affine = tuple[Array, Array]  # scale and shift, each of size 1 or with one number per channel


def fold(graph: ir.Graph) -> None:
    """Fold every affine step before and after a convolution, a transposed one or a Gemm into that layer."""
    for node in list(graph):
        layer = Linear.of(node)
        while layer is not None and (_fold_before(graph, layer) or _fold_after(graph, layer)):
            pass


def _fold_after(graph: ir.Graph, layer: Linear) -> bool:
    """Fold the step after the layer, if it is affine; return whether it was folded."""
    output = layer.node.outputs[0]
    after = only_reader(output)
    step = None if after is None else _affine(after, output, layer.outputs, 2 + len(layer.kernel))
    if after is None or step is None:
        return False
    scale, shift = (np.broadcast_to(each, layer.outputs) for each in step)
    per_output = scale.reshape(layer.groups, -1, 1, *[1] * len(layer.kernel))
    layer.replace(graph, layer.weight * per_output, layer.bias * scale + shift)
    bypass(graph, after, output)
    return True


def _fold_before(graph: ir.Graph, layer: Linear) -> bool:
    """Fold the step before the layer, if it is affine; return whether it was folded.

    A scale can always be folded. A shift cannot be folded into a layer that pads with zeros, nor into a transposed convolution:
    near the border the step shifts fewer of the summed values than elsewhere, and a bias is the same everywhere.
    """
    value = layer.node.inputs[0]
    reshape = value.producer() if value is not None and layer.node.op_type == "Gemm" else None
    flattened = reshape is not None and reshape.op_type in ("Reshape", "Flatten") and only_reader(value) is layer.node
    value = reshape.inputs[0] if reshape is not None and flattened else value
    before = None if value is None else value.producer()
    if before is None or only_reader(value) is None:
        return False
    source = next((each for each in before.inputs if constant(each) is None), None)
    # A Reshape or Flatten between step and layer mixes channels and positions, so that a step with a number for each channel
    # does not fit the layer's inputs any more. Then only a step with a single number for all is folded.
    if source is None:
        return False
    rank = 2 + len(layer.kernel) if source.shape is None else len(source.shape)
    step = _affine(before, source, 1 if flattened else layer.inputs, rank)
    if step is None:
        return False
    scale, shift = (
        np.broadcast_to(each, layer.inputs).reshape(layer.groups, 1, -1, *[1] * len(layer.kernel)) for each in step
    )
    if shift.any() and (layer.padded or layer.node.op_type == "ConvTranspose"):
        return False
    spread = (layer.weight * shift).sum(tuple(range(2, layer.weight.ndim))).reshape(-1)
    layer.replace(graph, layer.weight * scale, layer.bias + spread)
    bypass(graph, before, source)
    return True


def _affine(node: ir.Node, value: ir.Value, channels: int, rank: int) -> Affine | None:
    """Scale and shift of `value`, [N, channels, *sides] of so many dimensions, by `node`; None if it does anything else."""
    if node.op_type == "BatchNormalization":
        step = _batch_norm(node)
        return step if step is not None and step[0].size in (1, channels) else None
    if node.op_type not in ("Add", "Sub", "Mul", "Div"):
        return None
    first = node.inputs[0] is value
    given = constant(node.inputs[1 if first else 0])
    if given is None or given.dtype.kind != "f" or not _broadcasts(given, channels, rank):
        return None
    given, one, zero = given.astype(np.float64).reshape(-1), np.ones(1), np.zeros(1)
    if node.op_type == "Add":
        return one, given
    if node.op_type == "Sub":
        return (one, -given) if first else (-one, given)
    if node.op_type == "Mul":
        return given, zero
    return (1 / given, zero) if first and given.all() else None


def _broadcasts(array: Array, channels: int, rank: int) -> bool:
    """Whether `array` holds one number for all channels or one for each, and broadcasting it adds no dimensions to the value.

    Shapes are aligned at their ends, so that [C, 1, 1] goes along the channels of [N, C, H, W], but along the depth of
    [N, C, D, H, W].
    """
    if array.ndim > rank:
        return False
    aligned = (1,) * (rank - array.ndim) + array.shape
    return array.size == 1 or aligned == (1, channels, *(1,) * (rank - 2))


def _batch_norm(node: ir.Node) -> Affine | None:
    gamma, beta, mean, variance = (constant(each) for each in node.inputs[1:5])
    if gamma is None or beta is None or mean is None or variance is None or len(node.outputs) > 1:
        return None
    root = np.sqrt(variance.astype(np.float64) + float(number(node, "epsilon", 1e-5)))
    return gamma / root, beta - mean * (gamma / root)
