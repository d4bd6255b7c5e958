"""What an ONNX file says of itself, read without onnx and without ONNX Runtime.

A file is a protocol-buffers message: a sequence of (field number, wire type, value). Looked at are ModelProto's `metadata_props`,
types and shapes of the graph's inputs and outputs, and where weights lie that are not in the file; everything else, the
weights in the file first of all, is skipped by its length. The file may come from a stranger: time and depth are bounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from aepipe.errors import BadInput

Value = TypeVar("Value")

PREFIX = "aepipe."
LARGEST = 2**31 - 1  # bytes in a file, because protocol buffers have no more; also the largest size of a tensor
MOST_FIELDS, MOST_LEVELS = 1_000_000, 100  # more than any graph has that a user would run
# Field numbers of onnx.proto: ModelProto, GraphProto, ValueInfoProto, TypeProto and its Tensor, TensorShapeProto, TensorProto.
GRAPH, METADATA_PROPS, INITIALIZER, INPUT, OUTPUT = 7, 14, 5, 11, 12
NAME, TYPE, TENSOR_TYPE, DENOTATION, ELEM_TYPE, SHAPE, DIM, DIM_VALUE, DIM_PARAM = 1, 2, 1, 6, 1, 2, 1, 1, 2
TENSOR_NAME, EXTERNAL_DATA, DATA_LOCATION = 8, 13, 14
KEY, VALUE = 1, 2
# Which messages may hold tensors, and in which of their fields.
HOLDERS: dict[str, dict[int, str]] = {
    "model": {GRAPH: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", INITIALIZER: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
DTYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    6: "int32",
    7: "int64",
    8: "string",
    9: "bool",
    10: "float16",
    11: "float64",
}


@dataclass(frozen=True)
class OnnxTensor:
    """An input or output: its type, as a manifest calls it, and its sizes; None is a size that may vary, or no shape at all."""

    dtype: str
    sizes: list[int | None] | None


@dataclass(frozen=True)
class OnnxFile:
    """The `aepipe.*` metadata without their prefix, what must be given, what is made, and the names of external data."""

    notes: dict[str, str]
    inputs: dict[str, OnnxTensor]
    outputs: dict[str, OnnxTensor]
    external: tuple[str, ...] = ()


def parse_onnx(content: bytes, path: Path) -> OnnxFile:
    """The content of a file; raises BadInput, which names the path, when it is no ONNX file."""
    try:
        return _parsed(memoryview(content))
    except (IndexError, KeyError, ValueError) as error:
        raise BadInput(f"{path} is not an ONNX file", "export the bundle again") from error


def _parsed(model: memoryview) -> OnnxFile:
    parser = _Parser()
    pairs = [dict(parser.messages(field)) for number, field in parser.messages(model) if number == METADATA_PROPS]
    notes = _unique([(_text(pair[KEY]), _text(pair.get(VALUE, memoryview(b"")))) for pair in pairs])
    graph = parser.merged(model, GRAPH)
    given: list[tuple[str, OnnxTensor]] = []
    made: list[tuple[str, OnnxTensor]] = []
    constant = set()
    for number, field in parser.messages(graph):
        if number in (INPUT, OUTPUT):
            (given if number == INPUT else made).append(_tensor(parser, field))
        elif number == INITIALIZER:
            constant.add(bytes(dict(parser.messages(field)).get(TENSOR_NAME, b"")))
    if not made:
        raise ValueError("no output")
    return OnnxFile(
        {key.removeprefix(PREFIX): value for key, value in notes.items() if key.startswith(PREFIX)},
        {name: each for name, each in _unique(given).items() if name.encode() not in constant},
        _unique(made),
        tuple(dict.fromkeys(_external(parser, model, "model", 0))),
    )


def _unique(pairs: list[tuple[str, Value]]) -> dict[str, Value]:
    if len(found := dict(pairs)) != len(pairs):
        raise ValueError("a name that stands twice")
    return found


def _tensor(parser: _Parser, info: memoryview) -> tuple[str, OnnxTensor]:
    """Name, type and sizes; where a field that should stand once stands several times, the last counts, as in every reader."""
    name = _text(dict(parser.messages(info))[NAME])
    kind = parser.merged(info, TYPE)
    if {number for number, _ in parser.messages(kind)} - {DENOTATION} != {TENSOR_TYPE}:
        return name, OnnxTensor("no tensor", None)
    tensor = parser.merged(kind, TENSOR_TYPE)
    number = dict(parser.numbers(tensor)).get(ELEM_TYPE, 0)
    dtype = DTYPES.get(number, f"type {number}")
    if SHAPE not in dict(parser.messages(tensor)):
        return name, OnnxTensor(dtype, None)
    dims = [dim for each, dim in parser.messages(parser.merged(tensor, SHAPE)) if each == DIM]
    return name, OnnxTensor(dtype, [_size(parser, dim) for dim in dims])


def _size(parser: _Parser, dim: memoryview) -> int | None:
    size = None
    for number, value in parser.fields(dim):
        if number == DIM_PARAM:
            size = None
        elif number == DIM_VALUE and isinstance(value, int):
            size = value if value < 1 << 63 else None  # a negative one means that it may vary
    if size is not None and size > LARGEST:
        raise ValueError("an absurd size")
    return size


def _external(parser: _Parser, message: memoryview, kind: str, level: int) -> Iterator[str]:
    """Where tensors lie that are not in the file, those of graphs inside of graphs as well."""
    if level > MOST_LEVELS:
        raise ValueError("nested too deeply")
    if kind == "tensor":
        entries = [
            dict(parser.messages(field)) for number, field in parser.messages(message) if number == EXTERNAL_DATA
        ]
        if entries or dict(parser.numbers(message)).get(DATA_LOCATION):
            yield {_text(each[KEY]): _text(each[VALUE]) for each in entries}["location"]
        return
    for number, field in parser.messages(message):
        if number in HOLDERS[kind]:
            yield from _external(parser, field, HOLDERS[kind][number], level + 1)


class _Parser:
    """Reads messages, as long as there are not absurdly many fields."""

    def __init__(self) -> None:
        self._left = MOST_FIELDS

    def messages(self, message: memoryview) -> Iterator[tuple[int, memoryview]]:
        """(number, content) of every field with a length: texts, bytes and messages."""
        return ((number, value) for number, value in self.fields(message) if isinstance(value, memoryview))

    def numbers(self, message: memoryview) -> Iterator[tuple[int, int]]:
        """(number, value) of every field that is a whole number."""
        return ((number, value) for number, value in self.fields(message) if isinstance(value, int))

    def merged(self, message: memoryview, wanted: int) -> memoryview:
        """A message that should stand once. If it stands several times, every reader joins the parts, and so do we."""
        parts = [value for number, value in self.messages(message) if number == wanted]
        if not parts:
            raise ValueError("a part is missing")
        return parts[0] if len(parts) == 1 else memoryview(b"".join(parts))

    def fields(self, message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
        position, end = 0, len(message)
        while position < end:
            self._left -= 1
            if self._left < 0:
                raise ValueError("too many fields")
            tag, position = _varint(message, position)
            wire, number = tag & 7, tag >> 3
            if wire == 0:
                value, position = _varint(message, position)
                yield number, value
            elif wire in (1, 5):
                position += 8 if wire == 1 else 4
            elif wire == 2:
                length, position = _varint(message, position)
                if position + length > end:
                    raise ValueError("truncated")
                yield number, message[position : position + length]
                position += length
            else:
                raise ValueError(f"wire type {wire}")
        if position > end:
            raise ValueError("truncated")


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """A whole number of 64 bits, in at most 10 bytes of 7 bits each, and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        byte = message[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & (1 << 64) - 1, position
    raise ValueError("a number of more than 64 bits")


def _text(value: memoryview) -> str:
    return bytes(value).decode()
