"""From torch modules to a bundle: the graphs, the manifest, the parity gate, the model card."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from . import __version__, figures, plugins
from .arrays import as_float
from .bundle import FORMAT, MANIFEST
from .card import write_card
from .errors import BadInput
from .graphs import MINIMUM_ONNXRUNTIME, Densities, export_graphs, jobs, weights_digest
from .model import Autoencoder
from .parity import check_parity
from .places import Staged, writing
from .progress import say
from .run import Run
from .training_data import Corrupt

CODES = 5000


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


def export_run(run: Run, out: str | Path | None = None, *, show: bool = True) -> Path:
    """Export a finished run; returns the bundle's folder, by default exported/NAME.

    An existing bundle is replaced, and only by a complete new one. Raises ParityError (and writes nothing) when a graph does
    not compute what torch computes, BadInput when `out` exists and is not a bundle.
    """
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
    return write_bundle(contents, out, show=show)


def check_out(out: Path) -> None:
    """Refuse to replace anything that is not a bundle; raises BadInput."""
    if out.exists() and not (out.is_dir() and ((out / MANIFEST).exists() or not any(out.iterdir()))):
        raise BadInput(f"{out} exists and is not a bundle", "choose another folder with -o")


def write_bundle(contents: Contents, out: Path, *, show: bool = True) -> Path:
    """Write everything to a temporary folder beside `out`, check it, then move it into place."""
    staged = Staged(out)
    try:
        with writing(out):
            staged.temporary.mkdir()
            _fill(contents, staged.temporary, show)
            _swap(staged)
    finally:
        staged.discard()
    return out


def _swap(staged: Staged) -> None:
    """Put the new folder where the old one is, which is removed only then."""
    old = staged.temporary.with_suffix(".old")
    if staged.path.exists():
        staged.path.rename(old)
    try:
        staged.commit()
    except OSError:
        if old.exists():
            old.rename(staged.path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _fill(contents: Contents, folder: Path, show: bool) -> None:
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
    export_graphs(todo, folder, essentials)
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "name": contents.name,
        "aepipe": __version__,
        "pair": pair,
        "image": {"shape": list(contents.shape), "range": [0, 1]},
        "latent": contents.latent,
        "graphs": [job.entry(folder) for job in todo],
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
    _write_manifest(folder, manifest)
    _preview(contents, outputs, folder / "preview.png")
    write_card(folder / "README.md", manifest)


def _write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


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
