"""One ONNX graph cut out of a larger one: the nodes between inputs and outputs, named as a bundle names them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import onnx_ir as ir
from onnx_ir.passes.common import ClearMetadataAndDocStringPass

from aepipe.bundle.manifest import BATCH, SIDES


def cut(whole: ir.Model, given: Sequence[str], made: Sequence[str], renamed: Mapping[str, str]) -> ir.Model:
    """The part of `whole` that computes the values `made` from the values `given`, with these ends renamed.

    The exporter's notes about its own work (stack traces with local paths) are left out. The symbols of the batch and of sides lose
    the number by which the whole tells them apart.
    """
    graph = ir.convenience.extract(whole.graph, list(given), list(made))
    graph.name = "aepipe"
    part = ir.Model(graph, ir_version=whole.ir_version, functions=list(whole.functions.values()))
    ClearMetadataAndDocStringPass()(part)
    values = _values(graph)
    for value in values:
        value.metadata_props.clear()
        value.doc_string = None
        if value.shape is not None:
            value.shape = ir.Shape([_batch(size) for size in value.shape])
    _rename(graph, values, renamed, list(whole.graph.initializers))
    return part


def _values(graph: ir.Graph) -> list[ir.Value]:
    """All values of a graph and of the graphs inside its nodes, each once."""
    nodes = list(ir.traversal.RecursiveGraphIterator(graph))
    found = [*graph.inputs, *graph.initializers.values(), *(value for node in nodes for value in node.outputs)]
    inner = [each for node in nodes for attribute in node.attributes.values() for each in _graphs(attribute)]
    found += [value for each in inner for value in (*each.inputs, *each.initializers.values())]
    return list(dict.fromkeys(found))


def _graphs(attribute: ir.Attr) -> list[ir.Graph]:
    """The graphs inside an attribute of a node, such as the branches of an If."""
    if attribute.type == ir.AttributeType.GRAPH:
        return [attribute.as_graph()]
    return list(attribute.as_graphs()) if attribute.type == ir.AttributeType.GRAPHS else []


def _batch(size: int | ir.SymbolicDim) -> int | ir.SymbolicDim:
    if isinstance(size, int) or size.value is None:
        return size
    return ir.SymbolicDim(re.sub(rf"\b({'|'.join((BATCH, *SIDES))})\d+\b", r"\1", str(size.value)))


def _rename(graph: ir.Graph, values: list[ir.Value], ends: Mapping[str, str], order: list[str]) -> None:
    """New names: for the ends, for weights without the exporter's prefix, for whatever else is called like an end already.

    The weights keep the order that they have in the whole, `order`.
    """
    weights = {name: re.sub(r"^parts\.\d+\.", "", name) for name in graph.initializers}
    taken = list(weights.values())
    weights = {old: new for old, new in weights.items() if taken.count(new) == 1 and new not in ends.values()}
    stand_in_the_way = {value.name: f"{value.name}_" for value in values if value.name in ends.values()}
    names = {**stand_in_the_way, **weights, **ends}
    kept = {name: graph.initializers.pop(name) for name in order if name in graph.initializers}
    for value in values:
        if value.name in names:
            value.name = names[value.name]
    for value in kept.values():
        graph.initializers.add(value)
