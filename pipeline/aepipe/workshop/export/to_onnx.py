"""From a method of a torch module to one ONNX file: the graphs of a bundle."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from aepipe._version import __version__
from aepipe.bundle.manifest import (
    BATCH,
    LABEL,
    PRECISE,
    Graph,
    Role,
    Tensor,
    code_tensor,
    ends_of,
    graph_file,
    sample_tensor,
    tensor,
)
from aepipe.errors import DEBUG, AepipeError
from aepipe.plugins.calling import call
from aepipe.space import Kind, Size, Space
from aepipe.workshop.graphs.cutting import cut
from aepipe.workshop.graphs.lowering import lower
from aepipe.workshop.training.model import Autoencoder

from .causes import exporter_cause
from .densities import Densities, Method, offers, takes_label

if TYPE_CHECKING:
    import onnx

OPSET, IR = 18, 10
FROZEN = (
    "len(x), int(x.shape[0]), range, if and loops over it make Python numbers of a size; use x.shape[0] as it is, "
    "flatten(1), or -1 in reshape and expand"
)


class _SideBySide(nn.Module):
    """Methods of several modules, each with inputs and outputs of its own.

    Most of what the exporter costs is the same for every call, so that all graphs of a bundle go through it together.
    """

    def __init__(self, jobs: Sequence[Job]):
        super().__init__()
        self.parts = nn.ModuleList(job.module for job in jobs)
        self.methods = [(job.method, tuple(job.graph.inputs)) for job in jobs]

    def forward(self, *values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        left = iter(values)
        made: list[torch.Tensor] = []
        for part, (method, (first, *further)) in zip(self.parts, self.methods, strict=True):
            given, also = {first: next(left)}, {name: next(left) for name in further}
            result = call(getattr(part, method), given, also=also)
            made += result if isinstance(result, tuple) else [result]
        return tuple(made)


@dataclass(frozen=True)
class Job:
    """One graph to export: a method of a module, and what the manifest will say of the file."""

    module: nn.Module
    method: str
    graph: Graph  # whose first input the method is always given, and the others if it names them
    step: int = 1  # sides of the input that vary are multiples of it


def jobs(
    model: Autoencoder, densities: Densities, space: Space, code: Size, fixed: Size, steps: tuple[int, int] = (1, 1)
) -> Iterator[Job]:
    """Every graph of a bundle. Sides of samples and of codes that vary are multiples of `steps`; densities and outputs are of
    codes of the `fixed` size, that of the training data."""
    sample, latent, kind = sample_tensor(space, steps[0]), code_tensor(code, steps[1]), space.kind
    yield Job(model, "encode", learned_graph("encoder", sample, latent, kind=kind), steps[0])
    yield Job(model, "decode", learned_graph("decoder", latent, sample, kind=kind), steps[1])
    latent = code_tensor(fixed)
    if sizes := model.outputs:
        made = {name: tensor(size) for name, size in sizes.items()}
        given = {ends_of("output").inputs[0]: latent}
        yield Job(model, "output", Graph(role="output", file=graph_file("output"), inputs=given, outputs=made))
    for label, (density, _) in densities.items():
        noise = tensor(int(density.noise_features))
        ends: dict[Method, tuple[Tensor, Tensor]] = {
            "sample": (noise, latent),
            "log_prob": (latent, tensor()),
            "noise": (latent, noise),
        }
        for method, (taken, given_back) in ends.items():
            if offers(density, method):
                graph = learned_graph(method, taken, given_back, label)
                more = {LABEL: tensor(dtype="int64")} if takes_label(density, method) else {}
                discrete = (method == "log_prob" and bool(getattr(density, "discrete", False))) or None
                yield Job(density, method, replace(graph, inputs=graph.inputs | more, discrete=discrete))


def learned_graph(role: Role, given: Tensor, made: Tensor, density: str | None = None, kind: Kind = "image") -> Graph:
    """The graph of a role that has one input, as the manifest describes it."""
    ends, file = ends_of(role, kind), graph_file(role, density)
    return Graph(role=role, density=density, file=file, inputs={ends.inputs[0]: given}, outputs={ends.output: made})


def export_graphs(
    jobs: Sequence[Job], folder: Path, notes: Mapping[str, str], *, lowered: bool
) -> tuple[list[Job], dict[str, str]]:
    """Export graphs to files in `folder`: dynamic batch, opset 18, IR 10, one file each, `notes` as `aepipe.*` metadata.

    `lowered` rewrites encoder and decoder for speed (lowering.py). Returns the jobs that were done, and for each density
    that cannot be exported why. Raises AepipeError where encoder or decoder cannot be exported.
    """
    import onnx

    exported, failed = _exported_by_owner(jobs)
    for job, proto in exported:
        proto.ir_version = IR
        if lowered and job.graph.role in PRECISE:
            proto = lower(proto)
        proto.producer_name, proto.producer_version = "aepipe", __version__
        for key, value in {**notes, **job.graph.notes}.items():
            proto.metadata_props.add(key=f"aepipe.{key}", value=value)
        onnx.checker.check_model(proto)
        path = folder / job.graph.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(proto.SerializeToString())
    return [job for job, _ in exported], failed


def _exported_by_owner(jobs: Sequence[Job]) -> tuple[list[tuple[Job, onnx.ModelProto]], dict[str, str]]:
    """All jobs together; where that fails, encoder and decoder, and then each density by itself."""
    try:
        return list(zip(jobs, _exported(jobs), strict=True)), {}
    except Exception:  # it is told below which one it is
        done: list[tuple[Job, onnx.ModelProto]] = []
    failed: dict[str, str] = {}
    for density in dict.fromkeys(job.graph.density for job in jobs):
        try:
            done += [_alone(job) for job in jobs if job.graph.density == density]
        except AepipeError as error:
            if density is None:
                raise
            failed[density] = error.message
    return done, failed


def _alone(job: Job) -> tuple[Job, onnx.ModelProto]:
    try:
        return job, _exported([job])[0]
    except AepipeError:
        raise
    except Exception as error:
        script = any(isinstance(each, torch.jit.ScriptModule) for each in job.module.modules())
        cause = "it holds a torch.jit.ScriptModule" if script else exporter_cause(error)
        message = f"{job.graph.file} cannot be exported: {cause}"
        raise AepipeError(message, f"use operations that torch.onnx can export; {DEBUG}") from error


def _exported(jobs: Sequence[Job]) -> list[onnx.ModelProto]:
    import onnx_ir as ir

    whole = ir.serde.deserialize_model(_through_exporter(jobs))
    shapes = {each.name: each.shape for each in whole.graph.inputs}
    parts = []
    for index, job in enumerate(jobs):
        given, made = _names("in", index, job.graph.inputs), _names("out", index, job.graph.outputs)
        _check_open(job, shapes[given[0]])
        ends = dict(zip([*given, *made], [*job.graph.inputs, *job.graph.outputs], strict=True))
        parts.append(ir.serde.serialize_model(cut(whole, given, made, ends)))
    return parts


def _names(what: str, index: int, ends: Mapping[str, Tensor]) -> list[str]:
    """How the inputs, or the outputs, of a job are called among those of all jobs: in3, in3_1."""
    return [f"{what}{index}" + (f"_{number}" if number else "") for number in range(len(ends))]


def _check_open(job: Job, found: Any) -> None:
    """Raise AepipeError where the exporter has fixed a size of the input that has to vary, as it does in silence."""
    wanted = next(iter(job.graph.inputs.values())).shape
    for axis, (size, exported) in enumerate(zip(wanted, found or (), strict=False)):
        if not isinstance(size, int) and isinstance(exported, int):
            name = type(job.module).__name__ if job.graph.density else f"the {job.graph.role}"
            what = "the size of the batch" if axis == 0 else f"side {axis - 1}"
            message = f"{job.graph.file} cannot be exported: {name} fixes {what} at {exported}, by using it as a Python number"
            raise AepipeError(message, FROZEN)


def _through_exporter(jobs: Sequence[Job]) -> onnx.ModelProto:
    """One graph of all jobs, whose inputs and outputs are called as `_names` says."""
    given = [each for index, job in enumerate(jobs) for each in _examples(job, index)]
    with _silence():
        program = torch.onnx.export(
            _SideBySide(jobs).eval(),
            tuple(value for value, _ in given),
            input_names=[name for index, job in enumerate(jobs) for name in _names("in", index, job.graph.inputs)],
            output_names=[name for index, job in enumerate(jobs) for name in _names("out", index, job.graph.outputs)],
            dynamic_shapes=(tuple(dynamic for _, dynamic in given),),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    return program.model_proto


def _examples(job: Job, index: int) -> Iterator[tuple[torch.Tensor, dict[int, Any]]]:
    """An example of each input, a batch of two, and which of its dimensions vary, and how.

    Each graph has symbols of its own, so that none takes its size from another's input. The sides of the example differ and are
    no single step, because the exporter would take a side of one for a constant.
    """
    batch = torch.export.Dim(f"{BATCH}{index}")
    for each in job.graph.inputs.values():
        sizes, dynamic = [], {0: batch}
        for axis, size in enumerate(each.shape[1:], 1):
            if isinstance(size, int):
                sizes.append(size)
                continue
            side = torch.export.Dim(f"{size[-1]}{index}")
            sizes.append(job.step * (axis + 1))
            dynamic[axis] = side if job.step == 1 else job.step * side
        yield torch.zeros(2, *sizes, dtype=getattr(torch, each.dtype)), dynamic


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Silence the exporter in this block: it prints advice, whole graphs and warnings about its own parts."""
    before, nowhere = logging.root.manager.disable, io.StringIO()
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def weights_digest(modules: Iterable[nn.Module]) -> str:
    """SHA-256 over all tensors: what ties the graphs of one training together."""
    digest = hashlib.sha256()
    for module in modules:
        for name, weights in module.state_dict().items():
            raw = weights.cpu().contiguous().reshape(-1).view(torch.uint8)  # numpy has no bfloat16
            digest.update(name.encode() + raw.numpy().tobytes())
    return digest.hexdigest()
