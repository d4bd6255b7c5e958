"""A model repository for Triton Inference Server: the float graphs of a bundle, and reconstruction as an ensemble of two."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from aepipe._version import __version__
from aepipe.bundle.manifest import Graph, Tensor, ends_of
from aepipe.bundle.reader import Bundle
from aepipe.errors import BadInput
from aepipe.runtime.model import Model
from aepipe.runtime.providers import provider
from aepipe.workshop.export.gate import check_composed
from aepipe.workshop.graphs.composing import generator, write

MAX_BATCH = 64  # how many requests may be joined, and the largest of them

TYPES = {"float32": "TYPE_FP32", "int64": "TYPE_INT64"}
MODEL = """platform: "onnxruntime_onnx"
max_batch_size: {batch}
{ends}dynamic_batching {{ }}
"""
# Only one step of an ensemble may write a tensor, so that its input and its output cannot both be called image.
ENSEMBLE = """platform: "ensemble"
max_batch_size: {batch}
{ends}ensemble_scheduling {{
  step [
    {{
      model_name: "encoder"
      model_version: -1
      input_map {{ key: "image" value: "image" }}
      output_map {{ key: "latent" value: "latent" }}
    }},
    {{
      model_name: "decoder"
      model_version: -1
      input_map {{ key: "latent" value: "latent" }}
      output_map {{ key: "image" value: "reconstruction" }}
    }}
  ]
}}
"""


def fill_triton(directory: Path, folder: Path) -> str:
    """Write the model repository of a bundle into an empty folder; returns what it has. Raises BadInput."""
    bundle = Bundle(directory)
    for density in bundle.densities:
        if not re.fullmatch(r"[\w-]+", density):
            raise BadInput(f"the density {density!r} cannot be the name of a folder", "fit it under another label")
    _fill(bundle, folder)
    return f"a model repository of {', '.join(sorted(config.parent.name for config in folder.glob('*/config.pbtxt')))}"


def _fill(bundle: Bundle, folder: Path) -> None:
    """Write every model; what is made here, and not copied, is compared with the runtime first."""
    mark = f"# Written by aepipe {__version__} from the bundle {quoted(bundle.name)}, pair {quoted(bundle.pair[:12])}\n"

    def place(name: str, inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor], more: str, file: str) -> Path:
        (folder / name / "1").mkdir(parents=True)
        ends = _tensors("input", inputs) + _tensors("output", outputs)
        text = f"{mark}name: {quoted(name)}\n{more.format(batch=MAX_BATCH, ends=ends)}"
        (folder / name / "config.pbtxt").write_text(text, encoding="utf-8")
        return folder / name / "1" / file

    encoder, decoder = bundle.graph("encoder"), bundle.graph("decoder")
    for graph in (encoder, decoder):
        _require_plain(graph, bundle)
        path = place(graph.role, graph.inputs, graph.outputs, MODEL, "model.onnx")
        path.write_bytes(bundle.content(graph).content)
    with Model(bundle, provider("cpu")) as graphs:
        for index, density in enumerate(bundle.densities):
            made, name = generator(bundle, density), f"generate_{density}" if index else "generate"
            path = place(name, made.graph.inputs, made.graph.outputs, MODEL, "model.onnx")
            write(made, bundle, path)
            check_composed(made, path, graphs)
    kind = bundle.space.kind
    restored = {"reconstruction": decoder.outputs[kind]}
    place("reconstruct", encoder.inputs, restored, ENSEMBLE.replace('"image"', f'"{kind}"'), ".keep").touch()


def _require_plain(graph: Graph, bundle: Bundle) -> None:
    """Raise BadInput where a manifest describes a graph otherwise than its role does."""
    ends = ends_of(graph.role, bundle.space.kind)  # type: ignore[arg-type]
    tensors = [*graph.inputs.values(), *graph.outputs.values()]
    named = tuple(graph.inputs) == ends.inputs and tuple(graph.outputs) == (ends.output,)
    plain = all(each.dtype == "float32" and all(_is_size(size, bundle) for size in each.shape[1:]) for each in tensors)
    if not (named and plain):
        message = f"the manifest of {bundle.directory} gives the {graph.role} other inputs or outputs than it has"
        raise BadInput(message, "export the run again")


def _is_size(size: int | str, bundle: Bundle) -> bool:
    """Whether a size is one that a configuration can state: a number, or a side that is open."""
    return isinstance(size, int) or not bundle.space.fixed


def _tensors(kind: str, tensors: Mapping[str, Tensor]) -> str:
    """The inputs or outputs of a model, without the batch."""
    lines = []
    for name, tensor in tensors.items():
        sizes = [size if isinstance(size, int) else -1 for size in tensor.shape[1:]]
        # A tensor without sizes of its own, such as a label, has to be given as [batch, 1].
        shape = f"dims: {sizes}" if sizes else "dims: [1] reshape: { shape: [] }"
        lines.append(f"  {{ name: {quoted(name)} data_type: {TYPES[tensor.dtype]} {shape} }}")
    return f"{kind} [\n" + ",\n".join(lines) + "\n]\n"


def quoted(text: str) -> str:
    """A text as a string of the protocol buffers' text format, on one line of ASCII: nothing in it can end the string."""
    raw = text.encode("utf-8", "backslashreplace")  # half of a surrogate pair has no UTF-8
    plain = (chr(byte) if 0x20 <= byte < 0x7F and byte not in b"\"\\'" else f"\\{byte:03o}" for byte in raw)
    return f'"{"".join(plain)}"'
