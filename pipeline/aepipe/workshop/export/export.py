"""From torch modules to a bundle: the graphs, the manifest, the parity gate, the model card."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aepipe import figures, plugins
from aepipe._types import Shape
from aepipe._version import __version__
from aepipe.bundle.card import write_card
from aepipe.bundle.manifest import (
    CODES,
    LABEL,
    MANIFEST,
    PRECISE,
    PREVIEW,
    VECTORS,
    Data,
    Graph,
    Latent,
    Manifest,
    spec_of,
)
from aepipe.bundle.reader import Bundle, bundle_folder, shapes_noted
from aepipe.errors import BadInput
from aepipe.files.ours import remove_files
from aepipe.files.out import as_path, check_apart
from aepipe.files.records import read_json
from aepipe.images.corruption import corruption
from aepipe.images.data import open_images
from aepipe.images.labels import class_counts, class_labels
from aepipe.images.pixels import as_float
from aepipe.images.source import Source
from aepipe.plugins.reports import BundleReport
from aepipe.progress import say
from aepipe.runtime.model import Model
from aepipe.runtime.providers import provider
from aepipe.space import Raw, Size, Space, is_bounded, times
from aepipe.workshop.graphs.composing import composed_graphs, write
from aepipe.workshop.graphs.quantise import TrialImages, Verdict, make, report, speed
from aepipe.workshop.training.model import Autoencoder
from aepipe.workshop.training.optimiser import DEFAULT
from aepipe.workshop.training.run import RunFolder
from aepipe.workshop.training.surroundings import ordinary_settings

from .contents import Contents, LeftOut
from .densities import of_codes
from .formats import Formats
from .gate import check_composed
from .parity import check_learned
from .places import bundle_name, check_place, chosen_densities, data_name, graphs_there
from .reach import reach_of
from .to_onnx import export_graphs, jobs, weights_digest
from .vectors import write_vectors

# How a file of pixels becomes the input: docs/preparation.md.
PREPARED = {"orientation": "exif", "alpha": "white", "grey": "ITU-R 601-2", "filter": "bicubic"}
KEPT = 5000  # training codes that a bundle carries
RANGES, JUDGED = 512, 2000  # images that --calibrate gives


@ordinary_settings()
def export_run(
    run: RunFolder,
    out: str | Path | None = None,
    *,
    densities: str | Sequence[str] | None = None,
    without: str | Sequence[str] = (),
    show: bool = True,
    hooks: bool = True,
    **formats: Any,
) -> Path:
    """Export a finished run; returns the bundle's folder, by default exported/NAME of the run (private: of the latent size).

    `densities` names those of the run's that the bundle gets (by default all; the first is the default one), `without` those
    that it does not get. With `hooks` the hook `exported` is called. `formats` takes the fields of `Formats`: lower, precision,
    calibrate, max_drop, io, overwrite, private. An existing bundle is replaced, and only by a complete new one. Raises BadInput
    when `out` exists and is not a bundle, or one with further precisions or io and `overwrite` is not given; ParityError (and
    writes nothing) when a graph does not compute what torch computes; and, after the rest has been written, DensityRefused for
    a density that does not, and PrecisionRefused for a precision other than fp32 that costs more than `max_drop`.
    """
    wanted = Formats.of(formats, ("densities", "without"))
    run.require_finished()
    run.require_own()
    chosen = chosen_densities(run.config.get("densities", []), densities, without)
    name = f"autoencoder-d{'x'.join(map(str, run.latent.shape))}" if wanted.private else run.directory.resolve().name
    out = as_path(out) if out else Path("exported") / name
    check_apart(out, run.directory)
    check_place(out, wanted)
    config = run.config
    spoil = config["components"]["corruption"]
    codes, labels = run.codes()
    kept = np.sort(np.random.default_rng(0).permutation(len(codes))[:KEPT])
    model = run.model()
    contents = Contents(
        name=bundle_name(out),
        model=model,
        **sizes_of(model, run.shape, run.latent, run.raw),
        densities={k: (of_codes(each, run.latent), record) for k, (each, record) in run.densities(chosen).items()},
        codes=codes[kept],
        labels=None if labels is None else labels[kept],
        held_out=as_float(run.heldout()),
        components={kind: record for kind, record in config["components"].items() if record and kind != "optimiser"},
        trained={
            "data": data_name(config["data"]["spec"], config["data"]["dataset"] is not None),
            "task": "denoise" if spoil else "reconstruct",
            **({"corruption": {key: spoil[key] for key in ("name", "options")}} if spoil else {}),
            **({"augment": [spec_of(each) for each in config["augmentations"]]} if config.get("augmentations") else {}),
            **{key: config["recipe"][key] for key in ("seed", "batch_size", "lr", "schedule", "precision")},
            **_how_else(config),
            "epochs": config["metrics"]["epochs"],
            "images": config["data"]["train"],
            "reading": reading_of(config["data"], private=wanted.private),
        },
        metrics=config["metrics"],
        class_counts=class_counts(class_labels(labels), run.classes),
        corrupt=corruption(spoil, bounded=run.bounded) if spoil else None,
    )
    tell = partial(_tell, run=run.directory) if hooks else None
    return write_bundle(contents, out, wanted, show=show, tell=tell)


def _how_else(config: Mapping[str, Any]) -> dict[str, Any]:
    """How a run was trained, where that is not the usual way: its optimiser, and what else was asked for."""
    record = config["components"].get("optimiser")
    usual = plugins.choose("optimiser", DEFAULT).record()
    unusual = record and any(record[key] != usual[key] for key in ("name", "options", "plugin"))
    asked = {key: config["recipe"].get(key) for key in ("warmup", "clip", "ema")}
    found = {"optimiser": record if unusual else None, **asked}
    return {key: value for key, value in found.items() if value is not None}


def _tell(out: Path, run: Path | None = None) -> None:
    """Call the hook `exported`."""
    plugins.registry().call("exported", BundleReport(out, read_json(out / MANIFEST), run))


def write_bundle(
    contents: Contents,
    out: Path,
    formats: Formats,
    *,
    show: bool = True,
    tell: Callable[[Path], None] | None = _tell,
) -> Path:
    """Write everything to a temporary folder beside `out`, check it, then move it into place, and `tell` about it.

    Raises DensityRefused or PrecisionRefused after writing, where something was left out.
    """
    images = trial_images(contents, formats) if formats.further else None
    before = graphs_there(out)
    with bundle_folder(out).replacing() as folder:
        left_out = _fill(contents, folder, formats, images, show)
    gone = sorted(before - graphs_there(out))
    if gone and show:
        say(f"{out} was replaced, and has these graphs no more: {', '.join(gone)}")
    if tell:
        tell(out)
    if left_out.densities:
        raise left_out.densities_refused(out) from left_out.precisions_refused(out, formats)
    if left_out.precisions:
        raise left_out.precisions_refused(out, formats)  # type: ignore[misc]
    return out


def _fill(contents: Contents, folder: Path, formats: Formats, images: TrialImages | None, show: bool) -> LeftOut:
    """Write every file of the bundle; returns what was left out."""
    model, densities = contents.model, contents.densities
    todo = list(jobs(model, densities, contents.space, contents.latent, contents.fixed, contents.steps))
    if show:
        say(f"exporting {len(todo)} graphs")
    pair = weights_digest([model, *(module for module, _ in densities.values())])
    essentials = {
        "pair": pair,
        "version": __version__,
        **shapes_noted(contents.space, contents.latent),
        "task": contents.trained["task"],
    }
    todo, failed = export_graphs(todo, folder, essentials, lowered=formats.lower == "auto")
    densities = {label: each for label, each in densities.items() if label not in failed}
    told = any(LABEL in job.graph.inputs for job in todo)
    trained = contents.trained | ({"labels": contents.class_counts} if told and not formats.private else {})
    manifest = Manifest(
        name=contents.name,
        aepipe=__version__,
        pair=pair,
        data=contents.data,
        latent=Latent(shape=contents.latent.shape),
        graphs=tuple(_written(job.graph, folder, formats) for job in todo),
        densities=tuple(densities),
        classes=len(contents.class_counts or []) if told else None,
        components={**contents.components, "densities": {label: record for label, (_, record) in densities.items()}},
        trained={**trained, "data": "private"} if formats.private else trained,
        private=formats.private or None,
        # JSON has no infinity, which the PSNR of an exact restoration is.
        metrics={
            name: each for name, each in contents.metrics.items() if not isinstance(each, float) or math.isfinite(each)
        },
    )
    manifest.write(folder)
    if not formats.private and contents.latent.shape != contents.data.shape:  # codes that are the samples are no codes
        labels = {} if contents.labels is None else {"labels": contents.labels}
        np.savez_compressed(folder / CODES, codes=contents.codes, **labels)  # type: ignore[arg-type]
    found = check_learned(folder, model, densities, contents.held_out)
    manifest = _without(replace(manifest, parity=found.parity), found.refused, folder)
    manifest.write(folder)
    precisions: list[Verdict] = []
    if images is not None:
        manifest, precisions = _with_precisions(manifest, folder, formats, images, show)
    if formats.uint8:
        manifest = _with_tasks(manifest, contents, folder, formats, show)
    if manifest.needs_format_2:
        write_vectors(folder)
        manifest = replace(manifest, vectors=VECTORS)
    if not formats.private:
        _preview(contents, found.outputs, folder / PREVIEW)
    write_card(folder, manifest)
    manifest.hashed(folder).write(folder)
    return LeftOut({**failed, **found.refused}, precisions)


def _without(manifest: Manifest, densities: Collection[str], folder: Path) -> Manifest:
    """The manifest without these densities, whose graphs are removed from the folder."""
    remove_files(folder, [graph.file for graph in manifest.graphs if graph.density in densities])
    records = manifest.components["densities"]
    return replace(
        manifest,
        graphs=tuple(graph for graph in manifest.graphs if graph.density not in densities),
        densities=tuple(label for label in manifest.densities if label not in densities),
        components={**manifest.components, "densities": {k: v for k, v in records.items() if k not in densities}},
    )


def _written(graph: Graph, folder: Path, formats: Formats) -> Graph:
    """What the manifest says of a graph whose file is there."""
    lowered = formats.lower == "auto" if graph.role in PRECISE else None
    return replace(graph.hashed(folder), lowered=lowered)


def _with_precisions(
    manifest: Manifest, folder: Path, formats: Formats, images: TrialImages, show: bool
) -> tuple[Manifest, list[Verdict]]:
    """Add encoder and decoder in further precisions; returns the manifest with them, and the precisions that failed."""
    fp32 = {role: next(each for each in manifest.graphs if each.role == role) for role in PRECISE}
    files = {role: folder / graph.file for role, graph in fp32.items()}
    added, reports, refused = list(manifest.graphs), {}, []
    for precision in formats.further:
        if show:
            say(f"exporting {precision}")
        verdict = make(precision, files, images, formats.max_drop, lowered=formats.lower == "auto")
        if show:
            report(verdict, speed(verdict.graphs, files, images.inputs))
        if not verdict.accepted:
            refused.append(verdict)
            for path in verdict.graphs.values():
                path.unlink()
            continue
        reports[precision] = verdict.as_json()
        for role, path in verdict.graphs.items():
            added.append(replace(fp32[role], precision=precision, file=path.name).hashed(folder))
    return replace(manifest, graphs=tuple(added), precisions=reports), refused


def _with_tasks(manifest: Manifest, contents: Contents, folder: Path, formats: Formats, show: bool) -> Manifest:
    """Add graphs for bytes and for whole tasks, made of the fp32 ones, behind the same gate."""
    bundle = Bundle(folder)
    todo = list(composed_graphs(bundle))
    if show:
        say(f"adding {len(todo)} graphs for bytes and whole tasks")
    parity, added = dict(manifest.parity or {}), []
    with Model(bundle, provider("cpu")) as graphs:
        for composed in todo:
            path = folder / composed.graph.file
            write(composed, bundle, path)
            parity[composed.graph.name] = check_composed(composed, path, graphs, contents.held_out)
            added.append(_written(composed.graph, folder, formats))
    return replace(manifest, graphs=(*manifest.graphs, *added), parity=parity)


def trial_images(contents: Contents, formats: Formats) -> TrialImages:
    """Images for the ranges of int8 and for judging: of `calibrate`, by default halves of those held out from training."""
    if formats.calibrate is None:
        ranges, judged = contents.held_out[::2], contents.held_out[1::2]
    else:
        ranges, judged = (
            _first(
                open_images(
                    formats.calibrate, split=split, limit=count, shape=contents.data.shape, raw=contents.data.raw
                )
            )
            for split, count in (("train", RANGES), ("test", JUDGED))
        )
    if not len(judged):
        judged = ranges
    if contents.corrupt is None:
        return TrialImages(ranges, judged, judged)
    ranges, spoiled = (contents.corrupt(each, np.random.default_rng(0)) for each in (ranges, judged))
    return TrialImages(ranges, spoiled, judged)


def _first(source: Source) -> np.ndarray:
    say(source.describe())
    return as_float(source.read(np.arange(len(source))))


def reading_of(data: Mapping[str, Any], *, private: bool) -> dict[str, Any]:
    """How the training data were read, by what a run remembers: the data set with its options, type, size, colours, layout."""
    keys = ("dtype",) if private else ("dtype", "dataset", "image_size", "channels", "layout")
    return {key: data[key] for key in keys if data.get(key) is not None}


def sizes_of(model: Autoencoder, shape: Shape, code: Size, raw: Raw | None) -> dict[str, Any]:
    """What `Contents` says of samples and codes, of a model that was trained on this shape.

    Where its networks take any size, the sides of samples, and of codes that are maps, are open.
    """
    multiple = model.multiple if len(shape) > 1 and code.spatial else None
    open_shape = (shape[0], *(None,) * (len(shape) - 1)) if multiple else shape
    bounded = is_bounded(raw)
    kind = Space.of(shape).kind
    data = Data(
        kind=kind,
        prepare={**PREPARED, "fit": "whole" if multiple else "cover"} if kind == "image" else None,
        shape=open_shape,
        multiple=multiple or 1,
        reach=reach_of(model, shape[0], multiple) if multiple and len(shape) == 3 else None,
        range=(0, 1) if bounded else None,
        raw=raw,
    )
    latent = Size(code.shape[0], *(None,) * (len(code.shape) - 1)) if multiple else code
    per_side = {
        Fraction(int(own or 1), side) * (multiple or 1) for own, side in zip(code.shape[1:], shape[1:], strict=False)
    }
    step = per_side.pop() if multiple and len(per_side) == 1 else Fraction(1)
    if step.denominator != 1:
        message = f"codes of {code} for samples of {times(shape)} do not grow in steps of {multiple}"
        raise BadInput(message, "the networks say a wrong `multiple`")
    return {"data": data, "latent": latent, "fixed": code, "steps": (multiple or 1, int(step))}


def _preview(contents: Contents, outputs: dict[str, np.ndarray], path: Path) -> None:
    """Held-out images over what the graphs made of them, over samples of each density."""
    columns = min(12 if contents.data.kind == "image" else 6, len(contents.held_out))
    originals = contents.held_out[:columns]
    named = [("original", originals), ("reconstruction", outputs["reconstruction"][:columns])]
    if contents.corrupt:
        spoiled = contents.corrupt(originals, np.random.default_rng(0))
        with torch.no_grad():
            restored = contents.model.decode(contents.model.encode(torch.from_numpy(spoiled))).numpy()
        named = [("original", originals), ("spoiled", spoiled), ("restored", restored)]
    named += [
        (f"sample {label}", outputs[f"sample {label}"][:columns])
        for label in contents.densities
        if f"sample {label}" in outputs
    ]
    mse, split = contents.metrics["mse"], contents.metrics["split"]
    subtitle = f"d = {contents.latent}, MSE {mse:.5g} ({split} {contents.data.kind}s)"
    figures.rows(named, title=contents.name, subtitle=subtitle, bounded=contents.model.bounded).save(path)
