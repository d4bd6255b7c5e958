"""From a method of a torch module to one ONNX file: the graphs of a bundle."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from aepipe._version import __version__
from aepipe.bundle.manifest import BATCH, PRECISE, sha256
from aepipe.errors import AepipeError
from aepipe.workshop.graphs.cutting import part_of
from aepipe.workshop.graphs.lowering import lower
from aepipe.workshop.training.model import Autoencoder

if TYPE_CHECKING:
    import onnx

OPSET, IR = 18, 10

Densities = Mapping[str, tuple[nn.Module, dict[str, Any]]]  # label to module and record


class _SideBySide(nn.Module):
    """Methods of several modules, each with an input and an output of its own.

    Most of what the exporter costs is the same for every call, so that all graphs of a bundle go through it together.
    """

    def __init__(self, jobs: Sequence[Job]):
        super().__init__()
        self.parts = nn.ModuleList(job.module for job in jobs)
        self.methods = [job.method for job in jobs]

    def forward(self, *values: Tensor) -> tuple[Tensor, ...]:
        called = zip(self.parts, self.methods, values, strict=True)
        return tuple(getattr(part, method)(value) for part, method, value in called)


@dataclass
class Job:
    """One graph to export."""

    role: str
    file: str
    module: nn.Module
    method: str
    input: tuple[str, list[int]]
    output: tuple[str, list[int]]
    density: str | None = None

    @property
    def notes(self) -> dict[str, str]:
        return {} if self.density is None else {"density": self.density}

    def entry(self, folder: Path) -> dict[str, Any]:
        """What the manifest says of it."""

        def tensor(name: str, sizes: list[int]) -> dict[str, Any]:
            layout = {"layout": "NCHW"} if name == "image" else {}
            return {name: {"dtype": "float32", **layout, "shape": ["batch", *sizes]}}

        return {
            "role": self.role,
            **self.notes,
            "precision": "fp32",
            "io": "float",
            "file": self.file,
            "sha256": sha256(folder / self.file),
            "inputs": tensor(*self.input),
            "outputs": tensor(*self.output),
        }


def jobs(model: Autoencoder, densities: Densities, shape: tuple[int, int, int], latent_size: int) -> Iterator[Job]:
    """Every graph of a bundle."""
    image, latent = ("image", list(shape)), ("latent", [latent_size])
    yield Job("encoder", "encoder.onnx", model, "encode", image, latent)
    yield Job("decoder", "decoder.onnx", model, "decode", latent, image)
    for label, (density, _) in densities.items():
        noise = ("noise", [int(density.noise_features)])
        folder = f"density/{label}"
        yield Job("sample", f"{folder}/sample.onnx", density, "sample", noise, latent, label)
        yield Job("log_prob", f"{folder}/log_prob.onnx", density, "log_prob", latent, ("log_prob", []), label)
        if hasattr(density, "noise"):
            yield Job("noise", f"{folder}/noise.onnx", density, "noise", latent, noise, label)


def export_graphs(jobs: Sequence[Job], folder: Path, notes: Mapping[str, str], *, lowered: bool) -> None:
    """Export graphs to files in `folder`: dynamic batch, opset 18, IR 10, one file each, `notes` as `aepipe.*` metadata.

    `lowered` rewrites encoder and decoder for speed (lowering.py). Raises AepipeError that names the graph which cannot
    be exported.
    """
    import onnx

    for job, proto in zip(jobs, _exported(jobs), strict=True):
        proto.ir_version = IR
        if lowered and job.role in PRECISE:
            proto = lower(proto)
        proto.producer_name, proto.producer_version = "aepipe", __version__
        for key, value in {**notes, "role": job.role, **job.notes}.items():
            proto.metadata_props.add(key=f"aepipe.{key}", value=value)
        onnx.checker.check_model(proto)
        path = folder / job.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(proto.SerializeToString())


def _exported(jobs: Sequence[Job]) -> list[onnx.ModelProto]:
    names = [job.file for job in jobs]
    try:
        whole = _through_exporter(jobs)
    except Exception as error:
        if len(jobs) > 1:  # one by one takes longer and tells which one it is
            return [proto for job in jobs for proto in _exported([job])]
        message = f"{names[0]} cannot be exported: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
        hint = "use operations that torch.onnx can export; AEPIPE_DEBUG=1 shows the traceback"
        raise AepipeError(message, hint) from error
    ends = [{f"in{index}": job.input[0], f"out{index}": job.output[0]} for index, job in enumerate(jobs)]
    return [part_of(whole, f"in{index}", f"out{index}", renamed) for index, renamed in enumerate(ends)]


def _through_exporter(jobs: Sequence[Job]) -> onnx.ModelProto:
    """One graph of all jobs; their inputs are called in0, in1, …, their outputs out0, out1, …"""
    count = len(jobs)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            _SideBySide(jobs).eval(),
            tuple(torch.zeros(2, *job.input[1]) for job in jobs),
            input_names=[f"in{index}" for index in range(count)],
            output_names=[f"out{index}" for index in range(count)],
            # Each graph has its own batch symbol, so that none takes its size from another's input.
            dynamic_shapes=(tuple({0: torch.export.Dim(f"{BATCH}{index}")} for index in range(count)),),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    return program.model_proto


def weights_digest(modules: Iterable[nn.Module]) -> str:
    """SHA-256 over all tensors: what ties the graphs of one training together."""
    digest = hashlib.sha256()
    for module in modules:
        for name, tensor in module.state_dict().items():
            raw = tensor.cpu().contiguous().reshape(-1).view(torch.uint8)  # numpy has no bfloat16
            digest.update(name.encode() + raw.numpy().tobytes())
    return digest.hexdigest()
