"""One ONNX graph cut out of a larger one: the nodes between an input and an output, named as a bundle names them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any

from aepipe.bundle.manifest import BATCH

if TYPE_CHECKING:
    import onnx


def part_of(whole: onnx.ModelProto, input: str, output: str, renamed: Mapping[str, str]) -> onnx.ModelProto:
    """The part of `whole` that computes `output` from `input`, with its ends renamed and the exporter's metadata left out.

    The symbols of the batch, whatever follows "batch" in their names, become "batch".
    """
    import onnx

    nodes, needed = _nodes_for(whole.graph, output)
    part = onnx.ModelProto()
    part.opset_import.extend(whole.opset_import)
    part.functions.extend(whole.functions)
    part.graph.name = "aepipe"
    part.graph.node.extend(nodes)
    part.graph.initializer.extend(each for each in whole.graph.initializer if each.name in needed)
    part.graph.input.extend(each for each in whole.graph.input if each.name == input)
    part.graph.output.extend(each for each in whole.graph.output if each.name == output)
    made = {name for node in nodes for name in node.output} - {output}
    part.graph.value_info.extend(each for each in whole.graph.value_info if each.name in made)
    rename(part.graph, _names(part.graph, renamed))
    _tidy(part)
    return part


def _nodes_for(graph: onnx.GraphProto, output: str) -> tuple[list[onnx.NodeProto], set[str]]:
    """The nodes that `output` depends on, in order, and the names of all values among them."""
    nodes, needed = [], {output}
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            nodes.append(node)
            needed.update(node.output)
            needed.update(chain.from_iterable(each.input for each in _with_bodies(node)))
            needed.update(each.name for body in _bodies(node) for each in body.output)
    return nodes[::-1], needed


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


def _names(graph: onnx.GraphProto, ends: Mapping[str, str]) -> dict[str, str]:
    """New names: of the ends, of weights without the exporter's prefix, of whatever else is called like an end already."""
    weights = {each.name: re.sub(r"^parts\.\d+\.", "", each.name) for each in graph.initializer}
    taken = list(weights.values())
    weights = {old: new for old, new in weights.items() if taken.count(new) == 1 and new not in ends.values()}
    return {**{name: f"{name}_" for name in values_of(graph).intersection(ends.values())}, **weights, **ends}


def values_of(graph: onnx.GraphProto) -> set[str]:
    """The names of all values that nodes take or give, in the graphs inside nodes too, and of all weights."""
    inner = {name for node in graph.node for each in _with_bodies(node) for name in (*each.input, *each.output)}
    return inner | {each.name for each in graph.initializer}


def rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Give values new names, in the graphs inside nodes too."""
    for each in chain(graph.input, graph.output, graph.initializer, graph.value_info):
        each.name = names.get(each.name, each.name)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        for body in _bodies(node):
            rename(body, names)


def _tidy(model: onnx.ModelProto) -> None:
    """Drop what the exporter notes about its own work (stack traces with local paths) and call the batch "batch"."""

    def clean(each: Any) -> None:
        del each.metadata_props[:]
        each.doc_string = ""

    def clean_graph(graph: onnx.GraphProto) -> None:
        for value in chain(graph.input, graph.output, graph.value_info):
            for size in value.type.tensor_type.shape.dim:
                if size.HasField("dim_param"):
                    size.dim_param = re.sub(rf"\b{BATCH}\d+\b", BATCH, size.dim_param)
        for each in chain([graph], graph.input, graph.output, graph.value_info, graph.initializer, graph.node):
            clean(each)
        for node in graph.node:
            for body in _bodies(node):
                clean_graph(body)

    clean_graph(model.graph)
    for function in model.functions:
        for each in chain([function], function.value_info, function.node):
            clean(each)
