"""What an ONNX file says of itself, read without onnx and without ONNX Runtime.

A file is a protocol-buffers message: a sequence of (field number, wire type, value). Only ModelProto's `metadata_props`
and the shapes of the graph's inputs are looked at; everything else, the weights first of all, is skipped by its length.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aepipe.errors import BadInput

PREFIX = "aepipe."
# Field numbers of onnx.proto: ModelProto, GraphProto, ValueInfoProto, TypeProto and its Tensor, TensorShapeProto.
GRAPH, METADATA_PROPS, INPUT = 7, 14, 11
NAME, TYPE, TENSOR_TYPE, SHAPE, DIM, DIM_VALUE = 1, 2, 1, 2, 1, 1
KEY, VALUE = 1, 2


@dataclass(frozen=True)
class OnnxFile:
    """The `aepipe.*` metadata without their prefix, and the sizes of each input; None is a size that may vary."""

    notes: dict[str, str]
    inputs: dict[str, list[int | None]]


def read_onnx(path: Path) -> OnnxFile:
    """Raises BadInput when it is no ONNX file, or cannot be read."""
    notes: dict[str, str] = {}
    inputs: dict[str, list[int | None]] = {}
    try:
        with path.open("rb") as file:  # mapped, so that weights of any size are never in memory
            content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        for number, field in _messages(content):
            if number == METADATA_PROPS:
                pair = dict(_messages(field))
                notes[_text(pair[KEY])] = _text(pair[VALUE]) if VALUE in pair else ""
            elif number == GRAPH:
                infos = [dict(_messages(info)) for kind, info in _messages(field) if kind == INPUT]
                inputs = {_text(info[NAME]): _sizes(info[TYPE]) for info in infos}
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}", "check the file and its permissions") from error
    except (IndexError, KeyError, ValueError) as error:  # ValueError: also an empty file, which cannot be mapped
        raise BadInput(f"{path} is not an ONNX file", "export the bundle again") from error
    return OnnxFile({key.removeprefix(PREFIX): notes[key] for key in notes if key.startswith(PREFIX)}, inputs)


def _sizes(kind: memoryview) -> list[int | None]:
    shape = dict(_messages(dict(_messages(kind))[TENSOR_TYPE])).get(SHAPE, memoryview(b""))
    return [dict(_numbers(dim)).get(DIM_VALUE) for number, dim in _messages(shape) if number == DIM]


def _messages(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """(number, content) of every field with a length: texts, bytes and messages."""
    return ((number, value) for number, value in _fields(message) if isinstance(value, memoryview))


def _numbers(message: memoryview) -> Iterator[tuple[int, int]]:
    """(number, value) of every field that is a whole number."""
    return ((number, value) for number, value in _fields(message) if isinstance(value, int))


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        wire = tag & 7
        if wire == 0:
            value, position = _varint(message, position)
            yield tag >> 3, value
        elif wire in (1, 5):
            position += 8 if wire == 1 else 4
        elif wire == 2:
            length, position = _varint(message, position)
            if position + length > len(message):
                raise ValueError("truncated")
            yield tag >> 3, message[position : position + length]
            position += length
        else:
            raise ValueError(f"wire type {wire}")


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7


def _text(value: memoryview) -> str:
    return bytes(value).decode()
