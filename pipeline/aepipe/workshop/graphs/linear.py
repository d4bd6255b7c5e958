"""A linear layer of an exported graph, with its weights in one form for all kinds; folding and lowering rewrite such layers."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import onnx_ir as ir

from aepipe._types import Array


class Linear:
    """A Conv, ConvTranspose or Gemm with constant weights.

    `weight` is float64 [groups, out / groups, in / groups, *kernel], `bias` float64 [out]; a Gemm has one group and no kernel.
    """

    def __init__(self, node: ir.Node, weight: Array, bias: Array):
        self.node, self.weight, self.bias = node, weight, bias

    @classmethod
    def of(cls, node: ir.Node) -> Linear | None:
        """The layer of a node; None for another operator, for computed weights, and for padding that depends on the input."""
        if node.op_type not in ("Conv", "ConvTranspose", "Gemm") or _unusual(node):
            return None
        weight = constant(node.inputs[1])
        if weight is None:
            return None
        groups = number(node, "group", 1)
        if node.op_type == "Conv":
            weight = weight.reshape(groups, -1, *weight.shape[1:])
        elif node.op_type == "ConvTranspose":
            weight = weight.reshape(groups, -1, *weight.shape[1:]).swapaxes(1, 2)
        else:
            weight = (weight if number(node, "transB", 0) else weight.T)[None]
        outputs = weight.shape[0] * weight.shape[1]
        given = node.inputs[2] if len(node.inputs) > 2 else None
        bias = np.zeros(outputs) if given is None else constant(given)
        if bias is None or bias.size not in (1, outputs):
            return None
        return cls(node, weight.astype(np.float64), np.broadcast_to(bias.astype(np.float64).reshape(-1), outputs))

    @property
    def groups(self) -> int:
        return int(self.weight.shape[0])

    @property
    def inputs(self) -> int:
        """The number of input channels."""
        return int(self.weight.shape[0] * self.weight.shape[2])

    @property
    def outputs(self) -> int:
        """The number of output channels."""
        return int(self.weight.shape[0] * self.weight.shape[1])

    @property
    def kernel(self) -> tuple[int, ...]:
        return self.weight.shape[3:]

    @property
    def padded(self) -> bool:
        return any(integers(self.node, "pads", []))

    def replace(self, graph: ir.Graph, weight: Array, bias: Array) -> None:
        """Give the node another weight and bias, in the forms that the class describes."""
        self.weight, self.bias = weight, bias
        if self.node.op_type == "Conv":
            stored = weight.reshape(-1, *weight.shape[2:])
        elif self.node.op_type == "ConvTranspose":
            stored = weight.swapaxes(1, 2).reshape(-1, weight.shape[1], *weight.shape[3:])
        else:
            stored = weight[0] if number(self.node, "transB", 0) else weight[0].T
        name = self.node.inputs[1].name or "weight"
        self.node.resize_inputs(3)
        self.node.replace_input_with(1, new_constant(graph, stored, name))
        self.node.replace_input_with(2, new_constant(graph, bias, f"{name}_bias"))


def _unusual(node: ir.Node) -> bool:
    if node.op_type == "Gemm":
        return (number(node, "alpha", 1), number(node, "beta", 1), number(node, "transA", 0)) != (1, 1, 0)
    automatic = node.attributes.get("auto_pad")
    return (automatic is not None and automatic.as_string() != "NOTSET") or "output_shape" in node.attributes


def constant(value: ir.Value | None) -> Array | None:
    """The content of a value that is constant, else None."""
    tensor = None if value is None else ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def new_constant(graph: ir.Graph, array: Array, stem: str) -> ir.Value:
    """A new initializer named `stem`, with a number behind it if that name is taken; floats are stored as float32."""
    kept = array.astype(np.float32) if array.dtype.kind == "f" else array
    stem = re.sub(r"(weight|bias)\.\d+$", r"\1", stem)
    name, count = stem, 2
    while name in graph.initializers:
        name, count = f"{stem}.{count}", count + 1
    value = ir.Value(name=name, const_value=ir.tensor(np.ascontiguousarray(kept), name=name))
    graph.register_initializer(value)
    return value


def number(node: ir.Node, name: str, default: Any) -> Any:
    """A number among a node's attributes."""
    return node.attributes[name].value if name in node.attributes else default


def integers(node: ir.Node, name: str, default: list[int]) -> list[int]:
    """A list of integers among a node's attributes."""
    return list(node.attributes[name].as_ints()) if name in node.attributes else default


def only_reader(value: ir.Value | None) -> ir.Node | None:
    """The only node that reads a value; None if there are several, or if the value is an output of the graph."""
    uses = [] if value is None or value.is_graph_output() else value.uses()
    return uses[0].node if len(uses) == 1 else None


def bypass(graph: ir.Graph, node: ir.Node, value: ir.Value) -> None:
    """Remove a node with one output; all that read this output read `value` instead.

    If it was an output of the graph, `value` becomes the output and takes its name.
    """
    output = node.outputs[0]
    if output.is_graph_output():
        value.name, output.name = output.name, None
        value.type, value.shape = output.type, output.shape
    ir.convenience.replace_all_uses_with(output, value, replace_graph_outputs=True)
    graph.remove(node, safe=True)
