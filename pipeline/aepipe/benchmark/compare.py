"""Compares the speed of bundles: over providers, precisions, batch sizes and torch, each in its own process.

Thread pools disturb each other, so only one process measures at a time while the others sleep. All candidates take turns in
several rounds, so that other work on the machine disturbs all of them alike. One batch size is measured after the other, and
only the processes of one batch size live at the same time: this limits the memory that they take on the machine and its GPU.
"""

from __future__ import annotations

import contextlib
import io
import math
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aepipe import runtime
from aepipe._types import Array
from aepipe.bundle.manifest import VECTORS
from aepipe.bundle.reader import Bundle
from aepipe.errors import AepipeError, BadInput
from aepipe.progress import Advance, progress
from aepipe.runtime.model import load

from .child import TASKS, Child

BATCHES = (1, 8, 64, 256)
LEAST = 5  # the fewest calls that a figure is computed from, even if they are slow
TORCH = ("fp32 eager", "fp32 eager channels_last", "bf16 eager channels_last", "fp32 compile")
KEYS = ("path", "provider", "precision", "device")


@dataclass(frozen=True)
class Candidate:
    """One of the things that are compared. If it is `optional`, it was not asked for by name, and is left out if it cannot run."""

    bundle: str
    provider: str
    precision: str
    path: str
    reference: int  # index of the bundle whose fp32 results on the CPU are the reference
    device: str | None = None  # the device if torch computes, else None
    optional: bool = False

    def job(self, batch: int) -> dict[str, Any]:
        """What the process of this candidate has to know."""
        name = f"{self.bundle}, {self.provider}, {self.precision}, batch {batch}"
        return {"name": name, "batch": batch, **{key: getattr(self, key) for key in KEYS}}


@dataclass
class Comparison:
    """What `compare` returns: the rows, and for each candidate that was left out a line that says why."""

    rows: list[dict[str, Any]]
    left_out: list[str]


@dataclass
class _Measured:
    """One candidate at one batch size; times[task] holds the milliseconds of every call, round by round."""

    started: dict[str, Any]
    times: dict[str, list[np.ndarray]]
    memory: float | None = None


def compare(
    bundles: Mapping[str, str | Path],
    providers: Sequence[str] = (),
    precisions: Sequence[str] = (),
    batch_sizes: Sequence[int] = BATCHES,
    *,
    run: str | Path | None = None,
    threads: int | None = None,
    seconds: float = 1.0,
    rounds: int = 3,
) -> Comparison:
    """Measure every combination of bundle (label to folder), provider, precision and batch size, and a `run` in torch.

    Without `providers` the CPU is measured, and CUDA if it starts; without `precisions`, all that a bundle has. Each figure
    takes `seconds`, split over the rounds. Raises BadInput for a name that does not exist, before anything is measured;
    ProviderUnavailable if a provider that was named cannot run; AepipeError if a process dies.

    A row holds bundle, provider, precision, batch, task (encode, decode or reconstruct), images_per_second (from the median
    time), ratio (its images/s divided by those of the first candidate in the same round, the median over rounds), p50_ms,
    p90_ms, p99_ms, calls, first_ms (the first call), load_ms (imports and loading), memory_mb (peak of its process, None if the
    system does not tell) and difference (the largest, of codes or of pixels in 0..1, from fp32 on the CPU by ONNX Runtime).
    """
    opened = [Bundle(path) for path in bundles.values()]
    candidates = list(_in_onnxruntime(list(bundles), opened, providers, precisions))
    if run is not None:
        candidates += _in_torch(run, opened[0])
    left_out: dict[Candidate, str] = {}
    rows: list[dict[str, Any]] = []
    sizes = list(dict.fromkeys(batch_sizes))
    steps = 1 + rounds  # steps of progress for a candidate at one batch size
    with (
        tempfile.TemporaryDirectory() as folder,
        progress("measuring", len(candidates) * len(sizes) * steps) as advance,
    ):
        for batch in sizes:
            advance(len(left_out) * steps)
            references = _references(opened, batch, Path(folder))
            jobs = {
                each: {**each.job(batch), "reference": str(references[each.reference]), "threads": threads}
                for each in candidates
                if each not in left_out
            }
            found, missing = _take_turns(jobs, Path(folder), seconds, rounds, advance)
            left_out |= missing
            rows += _rows(found, batch)
    return Comparison(rows, list(dict.fromkeys(left_out.values())))


def _in_onnxruntime(
    names: list[str], bundles: list[Bundle], providers: Sequence[str], precisions: Sequence[str]
) -> Iterator[Candidate]:
    for provider in providers:
        runtime.provider(provider)
    for bundle in bundles:
        for precision in precisions:
            bundle.require_precision(precision)
    pairs = [bundle.pair for bundle in bundles]
    for name, bundle in zip(names, bundles, strict=True):
        for provider in dict.fromkeys(providers or ("cpu", "cuda")):
            for precision in dict.fromkeys(precisions or bundle.precisions):
                found = not providers and provider == "cuda"
                optional = found or (not precisions and precision != "fp32")
                reference = pairs.index(bundle.pair)
                yield Candidate(name, provider, precision, str(bundle.directory), reference, None, optional)


def _in_torch(path: str | Path, bundle: Bundle) -> list[Candidate]:
    """The run in torch, on the CPU and, if torch has it, on CUDA; the first bundle gives the reference."""
    import torch

    from aepipe.workshop.run import Run

    run = Run(path)
    run.require_finished()
    if (run.shape, run.latent) != (bundle.shape, bundle.latent):
        message = f"the run {path} makes {run.latent} numbers of {list(run.shape)}, the bundle {bundle.name} others"
        raise BadInput(message, "give the run that the bundle was exported from")
    run.model()  # this finds a damaged run before anything is measured
    devices = {"torch": "cpu", "torch cuda": "cuda"} if torch.cuda.is_available() else {"torch": "cpu"}
    return [
        Candidate(run.directory.resolve().name, provider, variant, str(path), 0, device, variant.endswith("compile"))
        for provider, device in devices.items()
        for variant in TORCH
    ]


def _references(bundles: list[Bundle], batch: int, folder: Path) -> list[Path]:
    """Write a file for each bundle: the inputs, and the results of fp32 on the CPU for them.

    The inputs are codes drawn from the bundle's own, with a fixed seed, and their decoded images: errors on noise, which is
    unlike the training data, would say nothing about a reduced precision. Bundles of the same training share one file.
    """
    files: dict[str, Path] = {}
    for bundle in bundles:
        if bundle.pair in files:
            continue
        kept = _codes_of(bundle)
        codes = kept[np.random.default_rng(0).integers(0, len(kept), batch)].astype(np.float32)
        with load(bundle.directory, "cpu", batch_size=batch) as model:
            images = model.decode_batch(codes)
            encoded = model.encode_batch(images)
            expected = {"encode": encoded, "decode": images, "reconstruct": model.decode_batch(encoded)}
        files[bundle.pair] = folder / f"{len(files)}-{batch}.npz"
        np.savez(files[bundle.pair], images=images, codes=codes, **expected)  # type: ignore[arg-type]
    return [files[bundle.pair] for bundle in bundles]


def _codes_of(bundle: Bundle) -> Array:
    """Codes [n, *latent.shape] to measure with: the bundle's own, or where it keeps none that of its test vectors."""
    if bundle.latent.shape == bundle.space.shape and bundle.manifest.vectors:
        content = bundle.beside(f"{VECTORS}/latent.npy")
        return np.asarray(np.load(io.BytesIO(content), allow_pickle=False))
    return bundle.codes()[0]


def _take_turns(
    jobs: Mapping[Candidate, dict[str, Any]], folder: Path, seconds: float, rounds: int, advance: Advance
) -> tuple[dict[Candidate, _Measured], dict[Candidate, str]]:
    """Start a process for each job, let them measure in turns, and end them all, even after Ctrl-C.

    Returns what was measured, and for each candidate that could not start the reason.
    """
    found: dict[Candidate, _Measured] = {}
    left_out: dict[Candidate, str] = {}
    children: dict[Candidate, Child] = {}
    with contextlib.ExitStack() as alive:
        for candidate, job in jobs.items():
            advance(0, job["name"])
            child = Child(job, folder)
            alive.callback(child.end)
            try:
                found[candidate] = _Measured(child.answer(), {task: [] for task in TASKS})
                children[candidate] = child
            except AepipeError as error:
                if not candidate.optional:
                    raise
                left_out[candidate] = f"left out: {error.message}"
                advance(rounds)
            advance(1)
        for _ in range(rounds):
            for candidate, child in children.items():
                answer = child.ask({"seconds": seconds / rounds, "least": math.ceil(LEAST / rounds)})
                found[candidate].memory = answer["memory_mb"]
                for task, times in answer["times"].items():
                    found[candidate].times[task].append(np.array(times))
                advance(1)
    return found, left_out


def _rows(found: Mapping[Candidate, _Measured], batch: int) -> Iterable[dict[str, Any]]:
    base = next(iter(found.values()))
    for task in TASKS:
        for candidate, measured in found.items():
            rounds = [float(np.median(times)) for times in measured.times[task]]
            base_rounds = [float(np.median(times)) for times in base.times[task]]
            times = np.concatenate(measured.times[task])
            p50, p90, p99 = (round(float(q), 4) for q in np.percentile(times, [50, 90, 99]))
            yield {
                "bundle": candidate.bundle,
                "provider": candidate.provider,
                "precision": candidate.precision,
                "batch": batch,
                "task": task,
                "images_per_second": round(1000 * batch / p50, 1),
                "ratio": round(float(np.median(np.divide(base_rounds, rounds))), 3),
                "p50_ms": p50,
                "p90_ms": p90,
                "p99_ms": p99,
                "calls": len(times),
                "first_ms": measured.started["first_ms"][task],
                "load_ms": measured.started["load_ms"],
                "memory_mb": measured.memory,
                "difference": measured.started["difference"][task],
            }
