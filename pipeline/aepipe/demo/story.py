"""The whole story on real handwritten digits: train, export, verify, use, and one page that shows it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from aepipe import figures, plugins
from aepipe.bundle.reader import Bundle
from aepipe.files.ours import OwnFolder, listed_files, write_list
from aepipe.files.out import as_path
from aepipe.images.batches import batches
from aepipe.images.data import open_images
from aepipe.images.source import Source
from aepipe.judging.metrics import evaluate, psnr_between
from aepipe.progress import say
from aepipe.runtime.model import Model
from aepipe.runtime.providers import Provider, provider
from aepipe.tables import print_table
from aepipe.workshop.fit import fit

from .page import write_page

DATA = "digits"
NOISE = "gaussian:sigma=0.5"
MODELS: dict[str, dict[str, Any]] = {
    "conv-d8": {"encoder": "conv", "decoder": "deconv", "latent_dim": 8},
    "pca-d8": {"encoder": "pca", "decoder": "pca", "latent_dim": 8},
    "denoiser-d16": {"encoder": "conv", "decoder": "deconv", "latent_dim": 16, "corrupt": NOISE},
}
TITLES = {"conv-d8": "Convolutional autoencoder", "pca-d8": "PCA, the linear baseline", "denoiser-d16": "Denoiser"}
INTRO = """\
Three models were trained on {count} handwritten digits (28×28, from scikit-learn), exported to ONNX, compared with torch on
held-out images, and run through ONNX Runtime on {provider}. Everything below was computed from the exported graphs alone, on
test images that did not train.

The convolutional autoencoder and PCA squeeze a digit into the same 8 numbers; the table says how much of it comes back."""


def tell(out: Path, *, epochs: int = 45) -> Path:
    """Train three small models, export them, and write figures and index.html to `out`; returns the page.

    An earlier demo is replaced when the new one is complete. Raises BadInput when `out` exists and is not an earlier demo.
    """
    started = time.monotonic()
    out = as_path(out)
    with OwnFolder(out, "demo", lambda folder: listed_files(folder, "demo")).replacing() as folder:
        rows = _fill(folder, out, epochs)
        write_list(folder, "demo")
    print_table(list(rows[0]), [[str(value) for value in row.values()] for row in rows])
    page, next_lines = out / "index.html", "\n".join(f"  {line}" for line in _commands(out))
    say(f"{page}: {time.monotonic() - started:.0f} s in all\ntry next:\n{next_lines}")
    return page


def _fill(folder: Path, out: Path, epochs: int) -> list[dict[str, Any]]:
    """Write everything into `folder`, which will become `out`; returns the rows of the table."""
    backend = provider("auto")
    models = {name: _make(name, folder, epochs, backend) for name in MODELS}
    images = open_images(DATA)
    rows = [_row(name, model, images) for name, model in models.items()]
    sections = [_reconstruct(folder, models, images), _denoise(folder, models["denoiser-d16"], images)]
    sections += [_interpolate(folder, models, images), _sample(folder, models), _training()]
    name = next(iter(models.values())).session("encoder").name
    intro = INTRO.format(count=f"{len(open_images(DATA, split='train')):,}", provider=name.upper())
    write_page(
        folder / "index.html",
        title="aepipe demo",
        intro=intro,
        table=rows,
        figures=sections,
        commands=_commands(out),
        caption=f"Reconstruction of the {len(images)} test images; the denoiser restores images spoiled with {NOISE}.",
    )
    return rows


def _make(name: str, folder: Path, epochs: int, backend: Provider) -> Model:
    """Train and export one of the models, and open its bundle."""
    say(f"training {name}: {TITLES[name]}")
    run = fit(DATA, out=folder / "runs" / name, epochs=epochs, schedule="cosine", lr=2e-3, **MODELS[name])
    bundle = Bundle(run.export(folder / "exported" / name))
    say(f"exported {name}: within {_worst(bundle):.1e} of torch")
    return Model(bundle, backend)


def _worst(bundle: Bundle) -> float:
    """The largest difference that the parity gate found."""
    return max((bundle.manifest.parity or {}).values())


def _row(name: str, model: Model, images: Source) -> dict[str, Any]:
    corrupt = plugins.create("corruption", NOISE) if model.bundle.task == "denoise" else None
    measured = evaluate(model.reconstruct_batch, images, corrupt=corrupt)
    return {
        "model": f"{TITLES[name]} ({name})",
        "d": model.latent,
        "test MSE": round(measured["mse"], 5),
        "PSNR (dB)": round(measured["psnr"], 2),
        "SSIM": round(measured["ssim"], 3),
        "parity": f"{_worst(model.bundle):.0e}",
    }


def _first(images: Source, count: int) -> np.ndarray:
    return next(batches(images, count)).images


def _reconstruct(out: Path, models: dict[str, Model], images: Source) -> dict[str, Any]:
    shown = _first(images, 24)
    made = []
    for name in ("conv-d8", "pca-d8"):
        restored = models[name].reconstruct(shown)
        mse = float(np.square(restored - shown).mean())
        picture = figures.rows(
            [("original", shown), ("restored", restored)],
            title=TITLES[name],
            subtitle=f"d = 8 · MSE {mse:.4f} on these 24",
            columns=8,
        )
        figures.save(picture, out / f"reconstruct-{name}.png")
        made.append({"file": f"reconstruct-{name}.png", "caption": f"{TITLES[name]}: originals above reconstructions."})
    return {"heading": "Reconstruct", "figures": made}


def _denoise(out: Path, model: Model, images: Source) -> dict[str, Any]:
    clean = _first(images, 24)
    spoiled = plugins.create("corruption", NOISE)(clean, np.random.default_rng(0))
    restored = model.denoise(spoiled)
    before, after = (psnr_between(each, clean) for each in (spoiled, restored))
    picture = figures.rows(
        [("clean", clean), ("spoiled", spoiled), ("restored", restored)],
        title="Denoising",
        subtitle=f"{NOISE} · d = 16 · PSNR {before:.2f} dB spoiled, {after:.2f} dB restored",
        columns=12,
    )
    figures.save(picture, out / "denoise.png")
    caption = "Trained on spoiled input and clean target: the clean image, what the model was given, what it gave back."
    return {"heading": "Denoise", "figures": [{"file": "denoise.png", "caption": caption}]}


def _interpolate(out: Path, models: dict[str, Model], images: Source) -> dict[str, Any]:
    ends = _first(images, 12)
    made = []
    for name in ("conv-d8", "pca-d8"):
        lines = models[name].interpolate(ends[::2], ends[1::2], steps=8)
        labels = [f"{alpha:.2f}" for alpha in np.linspace(0, 1, 8)]
        picture = figures.strips(lines, title=TITLES[name], subtitle="g((1 - α) f(x) + α f(x'))", column_labels=labels)
        figures.save(picture, out / f"interpolate-{name}.png")
        made.append(
            {"file": f"interpolate-{name}.png", "caption": f"{TITLES[name]}: straight lines in the latent space."}
        )
    text = "PCA blends two images; the autoencoder goes through shapes in between."
    return {"heading": "Interpolate", "text": text, "figures": made}


def _sample(out: Path, models: dict[str, Model]) -> dict[str, Any]:
    made = []
    for name, density in (("conv-d8", "gaussian"), ("conv-d8", "pca"), ("pca-d8", "gaussian"), ("pca-d8", "pca")):
        file = f"sample-{name}-{density}.png"
        picture = figures.sheet(
            models[name].sample(40, density), title=TITLES[name], subtitle=f"density {density}", columns=8
        )
        figures.save(picture, out / file)
        made.append({"file": file, "caption": f"{TITLES[name]}, density {density}."})
    text = "Codes are drawn from a density that was fitted to the training codes, then decoded. A Gaussian is too simple for them."
    return {"heading": "Sample", "text": text, "figures": made}


def _training() -> dict[str, Any]:
    made = [{"file": f"runs/{name}/curve.png", "caption": TITLES[name]} for name in MODELS if name != "pca-d8"]
    return {"heading": "Training", "figures": made}


def _commands(out: Path) -> list[str]:
    bundle = out / "exported" / "conv-d8"
    return [
        f"aepipe inspect {bundle}",
        f"aepipe infer sample {bundle} --count 100 --seed 1 -o samples.png",
        f"aepipe infer interpolate {bundle} digits -o strips.png",
        "aepipe train --data YOUR_IMAGES/ --image-size 64 --latent-dim 32 -o runs/mine",
        "aepipe export runs/mine",
    ]
