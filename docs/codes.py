"""Stores photographs as codes that are maps, beside JPEG: python docs/codes.py TRAINING PHOTOGRAPHS [-o FOLDER] [--runs FOLDER]

The pair `resnet-map` learns from patches of grey images, at two sizes of the code. Its bundles take photographs whole and at
their own size: in grey, and in colours, each channel by itself. The JPEG beside a code takes as many bits for each pixel, as
nearly as its quality can be chosen.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import NamedTuple

import aepipe
import numpy as np
from aepipe import figures
from aepipe._types import Array
from aepipe.benchmark.report import table
from aepipe.images.data import open_images
from aepipe.images.pixels import as_float, picture
from aepipe.judging.metrics import psnr_between
from aepipe.progress import say
from PIL import Image

SIDE, PATCHES, SEED = 64, 20_000, 0
CHANNELS = (2, 8)  # of the maps
RECIPE = {
    "encoder": "resnet-map:blocks=1",
    "decoder": "resnet-map:blocks=1",
    "batch_size": 8,
    "epochs": 3,
    "schedule": "cosine",
    "lr": 1e-3,
    "densities": ["gaussian", "pca"],
}


TYPES = ("float16", "int8")
FIGURES = {"grey": "grey.png", "in colours": "colours.png"}
SHOWN = ("bikes.png", "lighthouse2.png", "parrots.png", "womanhat.png")  # in the figures
WINDOW = 208  # pixels of a photograph that a figure shows

PAGE = """\
# Photographs as codes

Made by `python docs/codes.py TRAINING PHOTOGRAPHS`. The pair `resnet-map` learned to reconstruct {patches:,} grey patches of
{side}×{side} pixels, in {epochs} epochs, from {trained} images of BSDS500 (those on which DnCNN was trained; Zhang et al.,
2017), in about a quarter of an hour of one core for each size of the code. Its code has one number for each channel and each
8×8 pixels. The {count} photographs of LIVE1 (Sheikh et al., LIVE Image Quality Assessment Database) are coded whole and at
their own sizes: in grey, in one call of the encoder and one of the decoder, as `aepipe infer reconstruct` and `aepipe eval`
do; and in colours, each channel by itself, as `aepipe infer reconstruct --tile` does.

PSNR in dB is the mean over the photographs. Bits per pixel are those of all codes by those of all pixels, whatever the
channels, as `aepipe eval` says for grey: numbers of the code times the bits of their type, as `aepipe.pack_codes` stores
them. The JPEG beside a code is Pillow's, with optimised tables, its whole file counted; the quality, 1 to 95, is the one
whose size comes nearest to that of the code, for each photograph.

{table}

{verdict}

The middle of four photographs in grey, as int8 codes of {few} channels and as JPEG, pixel by pixel:

![originals, reconstructions from int8 codes, and JPEG of the same size](grey.png)

The same in colours:

![originals, reconstructions from int8 codes, and JPEG of the same size](colours.png)

A code is stored as it is, with the same number of bits everywhere, and was learned for the error alone, without a thought of
its bits. What a codec gains by entropy coding, which gives plain places fewer bits, and by colours that share their
brightness, is not here: `resnet-map` is no codec but a pair of networks for codes to work with.
"""


class Coded(NamedTuple):
    """A photograph as its code makes it, and the bits of the code."""

    image: Array  # [C, H, W]
    bits: int


def trained(folder: Path, channels: int, runs: Path) -> Path:
    """The bundle of codes with so many channels, trained on patches of the images in a folder, unless it is there already."""
    bundle = runs / f"maps-{channels}"
    if not (bundle / "manifest.json").exists():
        run = runs / f"run-{channels}"
        aepipe.fit(patches(folder), latent_dim=channels, out=run, overwrite=True, **RECIPE).export(bundle)
    return bundle


def patches(folder: Path) -> np.ndarray:
    """PATCHES squares [N, SIDE, SIDE] from random places of the grey images in a folder, turned and mirrored at random.

    Each image gives equally many.
    """
    source = open_images(folder, channels=1)
    images = [source.read_whole(index)[0] for index in range(len(source))]
    rng = np.random.default_rng(SEED)
    made = np.empty((PATCHES, SIDE, SIDE), np.uint8)
    for index, patch in enumerate(made):
        image = images[index % len(images)]
        top, left = (rng.integers(size - SIDE + 1) for size in image.shape)
        cut = np.rot90(image[top : top + SIDE, left : left + SIDE], rng.integers(4))
        patch[:] = cut[:, ::-1] if rng.integers(2) else cut
    return made


def coded(model: aepipe.Model, image: Array) -> dict[str, Coded]:
    """An image [C, H, W], float32 in 0..1, through a code that is stored as each of TYPES, each channel by itself."""
    planes = image[:, None]
    codes, found = model.encode_batch(planes), {}
    for dtype in TYPES:
        packed = aepipe.pack_codes(codes, dtype)
        made = model.restored_batch(planes, aepipe.unpack_codes(packed))
        found[dtype] = Coded(made[:, 0], 8 * packed["codes"].nbytes)
    return found


def as_jpeg(image: Array, bits: int) -> Coded:
    """The image as the JPEG whose file comes nearest to so many bits."""
    files = {quality: _jpeg(image, quality) for quality in (1, 95)}
    low, high = 1, 95
    while high - low > 1:  # a file grows with its quality
        middle = (low + high) // 2
        files[middle] = _jpeg(image, middle)
        low, high = (middle, high) if 8 * len(files[middle]) < bits else (low, middle)
    file = min((files[low], files[high]), key=lambda each: abs(8 * len(each) - bits))
    decoded = np.asarray(Image.open(io.BytesIO(file)))
    planes = decoded[None] if decoded.ndim == 2 else decoded.transpose(2, 0, 1)
    return Coded(as_float(planes), 8 * len(file))


def _jpeg(image: Array, quality: int) -> bytes:
    file = io.BytesIO()
    picture(image).save(file, "JPEG", quality=quality, optimize=True)
    return file.getvalue()


class Measured(NamedTuple):
    """What one way to store gives for all photographs."""

    bits_per_pixel: float
    psnr: float


def measured(photographs: list[Array], found: list[Coded]) -> Measured:
    pixels = sum(image[0].size for image in photographs)
    return Measured(sum(each.bits for each in found) / pixels, mean_psnr(found, photographs))


def compared(model: aepipe.Model, photographs: list[Array]) -> dict[str, tuple[list[Coded], list[Coded]]]:
    """By the type of the code, what it and the JPEG of the same size make of each photograph."""
    found = []
    for index, image in enumerate(photographs):
        say(f"{model.bundle.name}: {index + 1} of {len(photographs)}")
        found.append(coded(model, image))
    pairs = {}
    for dtype in TYPES:
        own = [each[dtype] for each in found]
        pairs[dtype] = own, [as_jpeg(image, each.bits) for image, each in zip(photographs, own, strict=True)]
    return pairs


def verdict(pairs: list[tuple[Measured, Measured]]) -> str:
    """One sentence that says which is better, and by how much."""
    gains = [beside.psnr - own.psnr for own, beside in pairs]
    won = sum(gain <= 0 for gain in gains)
    if not won:
        return f"**JPEG is better in every line, by {min(gains):.1f} to {max(gains):.1f} dB.**"
    ours = f"the codes in {won}, by at most {-min(gains):.1f} dB"
    return f"**JPEG is better in {len(gains) - won} of {len(gains)} lines, by at most {max(gains):.1f} dB; {ours}.**"


def draw(photographs: list[Array], found: list[Coded], jpegs: list[Coded], path: Path) -> None:
    """The middles of photographs: as they are, from codes, as JPEG of the same size."""
    named = [("original", np.stack([middle(image) for image in photographs]))]
    rates = []
    for label, made in (("code", found), ("JPEG", jpegs)):
        figure = measured(photographs, made)
        named.append((f"{label}, {figure.psnr:.1f} dB", np.stack([middle(each.image) for each in made])))
        rates.append(f"{figure.bits_per_pixel:.2f} of {label}")
    subtitle = f"the middle {WINDOW}×{WINDOW} pixels of each; bits per pixel: {', '.join(rates)}"
    figures.save(figures.rows(named, title="Photographs as int8 codes and as JPEG", subtitle=subtitle), path)


def mean_psnr(made: list[Coded], images: list[Array]) -> float:
    return float(np.mean([psnr_between(each.image, image) for each, image in zip(made, images, strict=True)]))


def middle(image: Array) -> Array:
    """The WINDOW × WINDOW pixels in the middle of an image [C, H, W]."""
    top, left = ((size - WINDOW) // 2 for size in image.shape[1:])
    return image[:, top : top + WINDOW, left : left + WINDOW]


def read(folder: Path, channels: int) -> tuple[list[str], list[Array]]:
    """Names and images of a folder, each at its own size, float32 in 0..1."""
    source = open_images(folder, channels=channels)
    return list(source.paths or []), [as_float(source.read_whole(index)) for index in range(len(source))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("training", type=Path)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("-o", "--out", type=Path, default=Path("docs/codes"), metavar="FOLDER")
    parser.add_argument("--runs", type=Path, default=Path("runs/codes"), metavar="FOLDER")
    arguments = parser.parse_args()
    bundles = {channels: trained(arguments.training, channels, arguments.runs) for channels in CHANNELS}
    names, grey = read(arguments.photographs, 1)
    photographs = {"grey": grey, "in colours": read(arguments.photographs, 3)[1]}
    arguments.out.mkdir(parents=True, exist_ok=True)
    shown = [names.index(name) for name in SHOWN if name in names] or list(range(min(4, len(names))))
    lines, pairs = [], []
    for channels, bundle in bundles.items():
        with aepipe.load(bundle, "cpu") as model:
            for kind, images in photographs.items():
                found = compared(model, images)
                for dtype, both in found.items():
                    own, beside = (measured(images, made) for made in both)
                    lines.append([str(channels), kind, dtype, *(f"{each:.2f}" for each in (*own, *beside))])
                    pairs.append((own, beside))
                if channels == CHANNELS[0]:
                    chosen = [[made[index] for index in shown] for made in (images, *found["int8"])]
                    draw(*chosen, arguments.out / FIGURES[kind])
    head = ["channels", "photographs", "type", "bits per pixel", "PSNR", "JPEG: bits per pixel", "JPEG: PSNR"]
    text = table(head, lines, left=3)
    facts = {"patches": PATCHES, "side": SIDE, "epochs": RECIPE["epochs"], "count": len(names), "few": CHANNELS[0]}
    facts |= {
        "trained": len(open_images(arguments.training)),
        "table": text,
        "verdict": verdict(pairs),
    }
    (arguments.out / "README.md").write_text(PAGE.format(**facts), encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
