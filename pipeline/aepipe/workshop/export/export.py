"""From torch modules to a bundle: the graphs, the manifest, the parity gate, the model card."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aepipe import figures, plugins
from aepipe._types import Corrupt
from aepipe._version import __version__
from aepipe.bundle.card import write_card
from aepipe.bundle.manifest import FORMAT, MANIFEST, MINIMUM_ONNXRUNTIME, PRECISE, _write_manifest, sha256
from aepipe.bundle.reader import Bundle
from aepipe.errors import BadInput, ParityError
from aepipe.files.staged import Staged, writing
from aepipe.images.data import open_images
from aepipe.images.pixels import as_float
from aepipe.progress import say
from aepipe.runtime.model import Model
from aepipe.runtime.providers import provider
from aepipe.workshop.graphs.composing import Made, made_graphs, write
from aepipe.workshop.graphs.quantise import Calibration, Verdict, make, report, speed
from aepipe.workshop.training.model import Autoencoder
from aepipe.workshop.training.run import RunFolder

from .formats import Formats
from .gate import check_made
from .parity import check_parity
from .to_onnx import Densities, Job, export_graphs, jobs, weights_digest

CODES = 5000
RANGES, JUDGED = 512, 2000  # images that --calibrate gives


@dataclass
class Contents:
    """What a bundle is made of."""

    name: str
    model: Autoencoder
    shape: tuple[int, int, int]
    latent: int
    densities: Densities
    codes: np.ndarray
    labels: np.ndarray | None
    held_out: np.ndarray  # images that did not train, for parity and preview
    components: dict[str, Any]
    trained: dict[str, Any]
    metrics: dict[str, Any]
    corrupt: Corrupt | None = None


def export_run(run: RunFolder, out: str | Path | None = None, *, show: bool = True, **formats: Any) -> Path:
    """Export a finished run; returns the bundle's folder, by default exported/NAME.

    `formats` takes the fields of `Formats`: lower, precision, calibrate, max_drop, io. An existing bundle is
    replaced, and only by a complete new one. Raises ParityError (and writes nothing) when a graph does not compute what
    torch computes, ParityError too when a precision other than fp32 costs more than `max_drop` (and writes the rest), BadInput
    when `out` exists and is not a bundle.
    """
    wanted = Formats.of(formats)
    run.require_finished()
    out = Path(out) if out else Path("exported") / run.directory.resolve().name
    check_out(out)
    config = run.config
    corruption = config["components"]["corruption"]
    codes, labels = run.codes()
    kept = np.sort(np.random.default_rng(0).permutation(len(codes))[:CODES])
    contents = Contents(
        name=out.resolve().name,
        model=run.model(),
        shape=run.shape,
        latent=run.latent,
        densities=run.densities(),
        codes=codes[kept],
        labels=None if labels is None else labels[kept],
        held_out=as_float(run.heldout()),
        components={kind: record for kind, record in config["components"].items() if record},
        trained={
            "data": config["data"]["spec"],
            "task": "denoise" if corruption else "reconstruct",
            **({"corruption": {key: corruption[key] for key in ("name", "options")}} if corruption else {}),
            **{key: config["recipe"][key] for key in ("seed", "batch_size", "lr", "schedule", "precision")},
            "epochs": config["metrics"]["epochs"],
            "images": config["data"]["train"],
        },
        metrics=config["metrics"],
        corrupt=plugins.create("corruption", corruption) if corruption else None,
    )
    return write_bundle(contents, out, wanted, show=show)


def check_out(out: Path) -> None:
    """Refuse to replace anything that is not a bundle; raises BadInput."""
    if out.exists() and not (out.is_dir() and ((out / MANIFEST).exists() or not any(out.iterdir()))):
        raise BadInput(f"{out} exists and is not a bundle", "choose another folder with -o")


def write_bundle(contents: Contents, out: Path, formats: Formats, *, show: bool = True) -> Path:
    """Write everything to a temporary folder beside `out`, check it, then move it into place."""
    images = calibration(contents, formats) if formats.further else None
    staged = Staged(out)
    try:
        with writing(out):
            staged.temporary.mkdir()
            refused = _fill(contents, staged.temporary, formats, images, show)
            staged.swap()
    finally:
        staged.discard()
    if refused:
        found = "; ".join(f"{each.precision} raises the MSE from {each.fp32:.6g} to {each.mse:.6g}" for each in refused)
        message = f"{found}, by more than the {formats.max_drop:.2%} allowed: {out} was written without it"
        raise ParityError(message, "give more and typical images with --calibrate, or allow more with --max-drop")
    return out


def _fill(contents: Contents, folder: Path, formats: Formats, images: Calibration | None, show: bool) -> list[Verdict]:
    """Write every file of the bundle; returns the precisions that were left out."""
    model, densities = contents.model, contents.densities
    pair = weights_digest([model, *(module for module, _ in densities.values())])
    essentials = {
        "pair": pair,
        "version": __version__,
        "latent": str(contents.latent),
        "image": json.dumps(list(contents.shape)),
        "task": contents.trained["task"],
    }
    todo = list(jobs(model, densities, contents.shape, contents.latent))
    if show:
        say(f"exporting {len(todo)} graphs")
    export_graphs(todo, folder, essentials, lowered=formats.lower == "auto")
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "name": contents.name,
        "aepipe": __version__,
        "pair": pair,
        "image": {"shape": list(contents.shape), "range": [0, 1]},
        "latent": contents.latent,
        "graphs": [{**job.entry(folder), **_lowered(job, formats)} for job in todo],
        "densities": list(densities),
        "components": {**contents.components, "densities": {label: record for label, (_, record) in densities.items()}},
        "trained": contents.trained,
        "metrics": contents.metrics,
        "minimum_onnxruntime": MINIMUM_ONNXRUNTIME,
    }
    _write_manifest(folder, manifest)
    labels = {} if contents.labels is None else {"labels": contents.labels}
    np.savez_compressed(folder / "codes.npz", codes=contents.codes, **labels)  # type: ignore[arg-type]
    manifest["parity"], outputs = check_parity(folder, model, densities, contents.held_out)
    refused = _add_precisions(folder, manifest, formats, images, show) if images is not None else []
    if formats.uint8:
        _add_tasks(contents, folder, manifest, formats, show)
    _write_manifest(folder, manifest)
    _preview(contents, outputs, folder / "preview.png")
    write_card(folder / "README.md", manifest)
    return refused


def _lowered(job: Job | Made, formats: Formats) -> dict[str, Any]:
    return {"lowered": formats.lower == "auto"} if job.role in PRECISE else {}


def _add_precisions(
    folder: Path, manifest: dict[str, Any], formats: Formats, images: Calibration, show: bool
) -> list[Verdict]:
    """Graphs of encoder and decoder in further precisions, and their figures in the manifest; returns those that failed."""
    entries = {entry["role"]: entry for entry in manifest["graphs"] if entry["role"] in PRECISE}
    fp32 = {role: folder / entry["file"] for role, entry in entries.items()}
    manifest["precisions"], refused = {}, []
    for precision in formats.further:
        if show:
            say(f"exporting {precision}")
        verdict = make(precision, fp32, images, formats.max_drop, lowered=formats.lower == "auto")
        if show:
            report(verdict, speed(verdict.graphs, fp32, images.inputs))
        if not verdict.accepted:
            refused.append(verdict)
            for path in verdict.graphs.values():
                path.unlink()
            continue
        manifest["precisions"][precision] = verdict.as_json()
        for role, path in verdict.graphs.items():
            own = {"precision": precision, "file": path.name, "sha256": sha256(path)}
            manifest["graphs"].append({**entries[role], **own})
    return refused


def _add_tasks(contents: Contents, folder: Path, manifest: dict[str, Any], formats: Formats, show: bool) -> None:
    """Graphs for bytes and for whole tasks, made of the fp32 ones, behind the same gate."""
    bundle = Bundle(folder)
    todo = list(made_graphs(bundle))
    if show:
        say(f"adding {len(todo)} graphs for bytes and whole tasks")
    with Model(bundle, provider("cpu")) as graphs:
        for made in todo:
            write(made, bundle, folder / made.file)
            manifest["parity"][made.name] = check_made(made, folder / made.file, graphs, contents.held_out)
            manifest["graphs"].append({**made.entry(folder / made.file), **_lowered(made, formats)})


def calibration(contents: Contents, formats: Formats) -> Calibration:
    """Images for the ranges of int8 and for judging: of `calibrate`, by default halves of those held out from training."""
    if formats.calibrate is None:
        ranges, judged = contents.held_out[::2], contents.held_out[1::2]
    else:
        ranges, judged = (
            as_float(source.read(np.arange(min(count, len(source)))))
            for source, count in (
                (open_images(formats.calibrate, split="train", shape=contents.shape), RANGES),
                (open_images(formats.calibrate, split="test", shape=contents.shape), JUDGED),
            )
        )
    if not len(judged):
        judged = ranges
    if contents.corrupt is None:
        return Calibration(ranges, judged, judged)
    ranges, spoiled = (contents.corrupt(each, np.random.default_rng(0)) for each in (ranges, judged))
    return Calibration(ranges, spoiled, judged)


def _preview(contents: Contents, outputs: dict[str, np.ndarray], path: Path) -> None:
    """Held-out images over what the graphs made of them, over samples of each density."""
    columns = min(12, len(contents.held_out))
    originals = contents.held_out[:columns]
    named = [("original", originals), ("reconstruction", outputs["reconstruction"][:columns])]
    if contents.corrupt:
        spoiled = contents.corrupt(originals, np.random.default_rng(0))
        with torch.no_grad():
            restored = contents.model.decode(contents.model.encode(torch.from_numpy(spoiled))).numpy()
        named = [("original", originals), ("spoiled", spoiled), ("restored", restored)]
    named += [(f"sample {label}", outputs[f"sample {label}"][:columns]) for label in contents.densities]
    mse, split = contents.metrics["mse"], contents.metrics["split"]
    subtitle = f"d = {contents.latent}, MSE {mse:.5f} ({split} images)"
    figures.rows(named, title=contents.name, subtitle=subtitle, columns=columns).save(path)
