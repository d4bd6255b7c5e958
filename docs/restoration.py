"""Trains restorers of photographs and measures them beside BM3D: python docs/restoration.py DATA [-o FOLDER] [--runs FOLDER]

DATA holds the folders train400 (the 400 grey images on which DnCNN was trained), set12 and live1. Each model is trained by the
command line that the page shows. A run that is there is used again if the same command line made it, and goes on where it was
stopped; figures are kept beside the runs, so that another start repeats none of them. BM3D is measured where its package is
installed: pip install bm3d==4.0.3. With --quick, little data show that everything works.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import aepipe
import numpy as np
from aepipe import figures
from aepipe.benchmark.report import machine, table
from aepipe.cli import run as run_command
from aepipe.images.corruption import corruption, spoiled
from aepipe.images.data import open_images
from aepipe.images.pixels import as_float, picture
from aepipe.judging.metrics import psnr_between, ssim
from aepipe.progress import say

# Standard deviations of the noise, on the scale 0..255, by kind of image.
SIGMAS = {"set12": (25,), "colours": (15, 25, 50)}
SEED, HELD_OUT = 0, 5
WINDOW, AROUND = 160, 256  # pixels of an image that the figures show, and those that are restored for it
# Written as on the command line; ruff would have one word a line.
RECIPE = shlex.split(
    "--encoder identity --decoder unet --latent-dim image --optimiser adamw"
    " --schedule cosine --warmup 100 --clip 0.1 --ema 0.995 --batch-size 16 --patience 0"
)
SMALL = shlex.split("--limit 12 --decoder unet:channels=8,blocks=1,levels=2 --epochs 1 --warmup 1")  # what --quick adds
# Noise of every standard deviation up to 55/255, half of it as a camera stores it.
CAMERA = 'mixed:of="gaussian:sigma=0..0.2157,clip=false;gaussian:sigma=0..0.2157+jpeg:quality=60..95"'


def command(images: str, count: int, corruption: str, epochs: int) -> list[str]:
    """The words of `aepipe train` on so many patches of each image in an epoch."""
    varied, crop = ["flip", "rotate90"], f"crop:size=64,patches={count}"
    # Quarter turns need squares: the images of train400 are squares, photographs become such when they are cropped.
    varied = [*varied, crop] if images == "train400" else [crop, *varied]
    augment = [word for each in varied for word in ("--augment", each)]
    return ["--data", images, *RECIPE, *augment, "--corrupt", corruption, "--epochs", str(epochs)]


MODELS = {
    "grey, σ = 25": command("train400", 16, "gaussian:sigma=0.098039,clip=false", 20),
    "colours, σ = 0 to 55": command("photographs", 200, CAMERA, 45),
}
# Mean PSNR on Set12 (Zhang et al., 2017, table III).
PUBLISHED = {"BM3D, published": (29.97,), "DnCNN, published": (30.43,)}
SHOWN = {"set12": (1, 4, 7, 8), "colours": (0, 1, 2, 3)}  # the images of the figures

Image = np.ndarray
Restore = Callable[[Image, float], Image]  # a noisy image [C, H, W] and σ in 0..1, to a restored one


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--out", type=Path, default=Path("docs/restoration"), metavar="FOLDER")
    parser.add_argument("--runs", type=Path, default=Path("runs/restoration"), metavar="FOLDER")
    parser.add_argument(
        "--quick", action="store_true", help="two small models and two images of each kind, without BM3D"
    )
    given = parser.parse_args()
    given.runs.mkdir(parents=True, exist_ok=True)
    given.out.mkdir(parents=True, exist_ok=True)
    kept = Kept(given.runs / "results.json")
    models = {name: trained(name, words, given) for name, words in MODELS.items()}
    tests = {"set12": wholes(given.data / "set12"), "colours": wholes(given.data / "live1")[-HELD_OUT:]}
    images = {kind: each[: 2 if given.quick else None] for kind, each in tests.items()}
    measured = {kind: measure(kind, each, models, kept, bm3d=not given.quick) for kind, each in images.items()}
    for kind, each in images.items():
        draw(kind, each, models, given.out, bm3d=not given.quick)
    page(measured, models, given)


class Kept:
    """Figures by a key, kept in a file, so that none is computed twice."""

    def __init__(self, path: Path):
        self.path = path
        self.known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def get(self, key: str, compute: Callable[..., Any], *arguments: Any) -> Any:
        if key not in self.known:
            say(f"measuring {key}")
            self.known[key] = compute(*arguments)
            self.path.write_text(json.dumps(self.known, indent=1), encoding="utf-8")
        return self.known[key]


def trained(name: str, words: list[str], given: argparse.Namespace) -> aepipe.Model:
    """The model that a command line trains, exported; a run of the same command line is used again, or continued."""
    run, bundle = given.runs / slug(name), given.runs / "exported" / slug(name)
    line = given.runs / f"{slug(name)}.txt"
    folder = {"train400": given.data / "train400", "photographs": given.runs / "photographs"}[words[1]]
    if words[1] == "photographs" and not folder.exists():
        folder.mkdir()
        for path in sorted((given.data / "live1").glob("*.png"))[:-HELD_OUT]:
            shutil.copy(path, folder)
    if given.quick:
        words = [word.replace("patches=200", "patches=16") for word in words] + SMALL
    same = line.exists() and line.read_text(encoding="utf-8") == shlex.join(words)
    if not same:
        shutil.rmtree(run, ignore_errors=True)
        shutil.rmtree(bundle, ignore_errors=True)
        line.write_text(shlex.join(words), encoding="utf-8")
    if not (bundle / "manifest.json").exists():
        say(f"training {name}")
        start = ["--resume", run] if (run / "run.json").exists() else ["--data", folder, *words[2:], "-o", run]
        for each in (["train", *start], ["export", run, "-o", bundle]):
            if code := run_command([str(word) for word in each]):
                sys.exit(code)
    return aepipe.load(bundle, "cpu")


def slug(name: str) -> str:
    """The name of a model as that of a folder."""
    return "-".join("".join(each if each.isalnum() else " " for each in name.replace("σ", "sigma")).split())


def wholes(folder: Path) -> list[Image]:
    """All images of a folder at their own sizes, [C, H, W] in 0..1."""
    source = open_images(folder)
    return [as_float(source.read_whole(index)) for index in range(len(source))]


def noisy(clean: Image, sigma: float, index: int, jpeg: bool = False) -> Image:
    """The image with the noise that `aepipe eval --corrupt gaussian:sigma=…,clip=false` gives it; with `jpeg` as a camera stores
    it, in a JPEG file of quality 90."""
    text = f"gaussian:sigma={sigma / 255:.6f},clip=false"
    corrupt = corruption(f'mixed:of="{text}+jpeg:quality=90"' if jpeg else text, bounded=True)
    return spoiled(corrupt, clean[None], np.array([index]), SEED)[0]


def restorers(kind: str, models: dict[str, aepipe.Model], bm3d: bool) -> dict[str, Restore]:
    """By name, what restores images of a kind."""
    found: dict[str, Restore] = {"BM3D": by_bm3d} if bm3d and find_spec("bm3d") else {}
    (model,) = (model for name, model in models.items() if name.startswith("grey" if kind == "set12" else "colours"))
    found["unet"] = lambda image, _: model.reconstruct_batch(image[None])[0]
    return found


def by_bm3d(image: Image, sigma: float) -> Image:
    """BM3D (Dabov et al., 2007), of colours CBM3D, by the package of its authors, which is told σ."""
    import bm3d

    if len(image) == 1:
        restored = bm3d.bm3d(image[0], sigma)[None]
    else:
        restored = bm3d.bm3d_rgb(image.transpose(1, 2, 0), sigma).transpose(2, 0, 1)
    return np.clip(restored, 0, 1).astype(np.float32)


def measure(
    kind: str, images: list[Image], models: dict[str, aepipe.Model], kept: Kept, *, bm3d: bool
) -> dict[str, dict[str, Any]]:
    """By row and column, the means of PSNR and SSIM of the images, and the seconds for a megapixel."""
    found: dict[str, dict[str, Any]] = {}
    for sigma in SIGMAS[kind]:
        for jpeg in (False, True) if kind == "colours" else (False,):
            column = f"{sigma}, JPEG" if jpeg else str(sigma)
            spoilt = [noisy(clean, sigma, index, jpeg) for index, clean in enumerate(images)]
            rows: dict[str, Restore] = {
                "noisy": lambda image, _: image,
                **restorers(kind, models, bm3d and sigma == 25),
            }
            for row, restore in rows.items():
                key = f"{kind} of {len(images)}, {row}, {column}"
                found.setdefault(row, {})[column] = kept.get(key, figures_of, restore, spoilt, images, sigma)
    return found


def figures_of(restore: Restore, spoilt: list[Image], images: list[Image], sigma: int) -> dict[str, float]:
    psnrs, similar, seconds = [], [], 0.0
    for image, clean in zip(spoilt, images, strict=True):
        start = time.perf_counter()
        restored = restore(image, sigma / 255)
        seconds += time.perf_counter() - start
        psnrs.append(psnr_between(restored, clean))
        similar.append(float(ssim(restored[None], clean[None])[0]))
    megapixels = sum(clean[0].size for clean in images) / 1e6
    return {"psnr": float(np.mean(psnrs)), "ssim": float(np.mean(similar)), "seconds": seconds / megapixels}


def draw(kind: str, images: list[Image], models: dict[str, aepipe.Model], out: Path, *, bm3d: bool) -> None:
    """The middle of some images at pixel size: clean, noisy, and as each restorer leaves it."""
    sigma = 25
    chosen = [index for index in SHOWN[kind] if index < len(images)]
    rows: dict[str, list[Image]] = {}
    for index in chosen:
        image = noisy(images[index], sigma, index, jpeg=kind == "colours")
        part = middle(image, AROUND)  # BM3D takes minutes for whole photographs, and looks no farther than this
        rows.setdefault("clean", []).append(middle(images[index]))
        rows.setdefault("noisy", []).append(middle(np.clip(image, 0, 1)))
        for name, restore in restorers(kind, models, bm3d).items():
            rows.setdefault(name, []).append(middle(restore(part, sigma / 255)))
        if kind == "colours" and index == chosen[-1]:
            for name, each in (("noisy", np.clip(image, 0, 1)), ("restored", restore(image, sigma / 255))):
                picture(each).save(out / f"{name}.jpg", quality=88)
    named = [(name, np.stack(each)) for name, each in rows.items()]
    stored = ", in JPEG files" if kind == "colours" else ""
    subtitle = f"the middle {WINDOW}×{WINDOW} pixels at their own size, noise of σ = {sigma} of 255{stored}"
    figures.rows(named, title="Photographs restored", subtitle=subtitle).save(out / f"{kind}.png", optimize=True)


def middle(image: Image, side: int = WINDOW) -> Image:
    top, left = ((size - side) // 2 for size in image.shape[1:])
    return image[:, top : top + side, left : left + side]


def operations(model: aepipe.Model) -> int:
    """Multiplications for each pixel, counted in the decoder's graph: every weight is used once for each place it is put at."""
    import onnx
    from onnx import numpy_helper

    side = 64
    path = model.bundle.directory / model.bundle.find("decoder").file
    graph = onnx.load(path)
    for axis in graph.graph.input[0].type.tensor_type.shape.dim[2:]:
        axis.dim_value = side
    graph.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    del graph.graph.value_info[:]
    for each in graph.graph.output:
        each.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(graph, data_prop=True).graph
    shapes = {each.name: [axis.dim_value for axis in each.type.tensor_type.shape.dim] for each in inferred.value_info}
    weights = {each.name: numpy_helper.to_array(each) for each in inferred.initializer}
    total = 0
    for node in inferred.node:
        if node.op_type in ("Conv", "ConvTranspose"):
            places = shapes[node.output[0] if node.op_type == "Conv" else node.input[0]][2:]
            total += weights[node.input[1]].size * int(np.prod(places))
    return total // side**2


PAGE = """\
# Photographs restored

Made by `python docs/restoration.py DATA`. One network, the decoder `unet` with the encoder `identity`, learns to take noise off
photographs: a grey one for the noise by which the literature compares, and one in colours for noise of every strength from 0 to
55 of 255, half of it as a camera stores it, in JPEG files. The grey one learns from the 400 images of 180×180 pixels on which
DnCNN was trained (from BSDS500), the one in colours from {photographs} photographs of LIVE1 (Sheikh et al., LIVE Image Quality
Assessment Database); it is [exported/photos](../../exported/photos). Nothing that is measured here was trained on. LIVE1 and
Kodak24 have a dozen images or more in common: do not measure the model in colours on Kodak24.

PSNR in dB and SSIM are means over the images. Noise is Gaussian and not clipped, as in the literature. A figure can be had again
by `aepipe eval BUNDLE --data FOLDER --corrupt gaussian:sigma=0.098039,clip=false` (`psnr_mean`, `ssim`).

## Set12, grey

{set12}

The published figures are those of Zhang et al. (IEEE Trans. Image Processing 26, 2017).

![the middle of four images: clean, noisy, and as each method leaves them](set12.png)

## Photographs in colours

The last {held_out} of LIVE1, in alphabetical order. BM3D is CBM3D, which is told σ; `unet` is not. BM3D takes minutes, and was
measured at one σ.

{colours}

## Photographs as cameras store them

The same noise, and then a JPEG file of quality 90, which smears it over its neighbours.

{jpeg}

![the middle of four photographs: clean, noisy, and as each method leaves them](colours.png)

One of them whole, noisy and restored:

![noisy](noisy.jpg) ![restored](restored.jpg)

## What it costs

{costs}

Training on one core of {processor}, in {precision}; restoring on {cores} cores by ONNX Runtime, the mean over the images above.
BM3D is the package `bm3d` of its authors, on one thread. Each model was trained by its line:

```sh
{commands}
```
"""


def page(
    measured: dict[str, dict[str, dict[str, Any]]], models: dict[str, aepipe.Model], given: argparse.Namespace
) -> None:
    colours = SIGMAS["colours"]
    facts: dict[str, Any] = {
        "set12": _table(measured["set12"], [str(sigma) for sigma in SIGMAS["set12"]], PUBLISHED),
        "colours": _table(measured["colours"], [str(sigma) for sigma in colours], {}),
        "jpeg": _table(measured["colours"], [f"{sigma}, JPEG" for sigma in colours], {}),
    }
    runs = {name: aepipe.Run(given.runs / slug(name)) for name in models}
    costs = []
    for (name, model), rows in zip(models.items(), measured.values(), strict=True):
        costs.append(_costs(name, model, runs[name], rows["unet"]["25"]["seconds"]))
        if "BM3D" in rows:
            costs.append([f"BM3D, {name.partition(',')[0]}", *["–"] * 5, f"{rows['BM3D']['25']['seconds']:.3g}"])
    header = ["model", "weights", "multiplications a pixel", "patches of 64×64", "minutes", "patches/s", "s/megapixel"]
    facts["costs"] = table(header, costs)
    facts |= {"photographs": len(list((given.runs / "photographs").glob("*"))), "held_out": HELD_OUT}
    lines = [f"aepipe train {shlex.join(words)} -o runs/{slug(name)}" for name, words in MODELS.items()]
    recipe, here = next(iter(runs.values())).config["recipe"], machine()
    facts |= {"commands": "\n".join(lines), "precision": recipe["precision"]}
    facts |= {"processor": here["cpu"], "cores": here["cores"]}
    (given.out / "README.md").write_text(PAGE.format(**facts), encoding="utf-8")
    print(facts["set12"], facts["colours"], facts["jpeg"], facts["costs"], sep="\n\n")


def _table(rows: dict[str, dict[str, Any]], columns: list[str], published: dict[str, tuple[float, ...]]) -> str:
    lines = []
    for row, cells in rows.items():
        found = [cells.get(column) for column in columns]
        if any(found):
            texts = [(f"{each['psnr']:.2f}", f"{each['ssim']:.3f}") if each else ("–", "–") for each in found]
            lines.append([row, *(psnr for psnr, _ in texts), *(similar for _, similar in texts)])
    lines += [[row, *(f"{value:.2f}" for value in values), *["–"] * len(values)] for row, values in published.items()]
    heads = [f"σ = {column.partition(',')[0]}" for column in columns]
    return table(["", *(f"PSNR, {head}" for head in heads), *(f"SSIM, {head}" for head in heads)], lines)


def _costs(name: str, model: aepipe.Model, run: aepipe.Run, seconds: float) -> list[str]:
    """A line of the table of costs; how long the training took follows from the rates of its epochs."""
    patches = run.config["recipe"]["epochs"] * _patches(run)
    rate = median(row["images_per_second"] for row in run.history)  # of epochs, some of which may have been interrupted
    weights = sum(weight.numel() for weight in run.model().parameters())
    minutes = patches / rate / 60
    return [
        name,
        f"{weights:,}",
        f"{operations(model):,}",
        f"{patches:,}",
        f"{minutes:.0f}",
        f"{rate:.0f}",
        f"{seconds:.3g}",
    ]


def _patches(run: aepipe.Run) -> int:
    """How many patches an epoch has: those of the images that train."""
    (crop,) = (each for each in run.config["augmentations"] if each["name"] == "crop")
    return int(run.config["data"]["train"] * crop["options"]["patches"])


if __name__ == "__main__":
    main()
