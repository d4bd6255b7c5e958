"""Denoises photographs, with a model of small patches: python docs/photographs.py FOLDER [-o FOLDER] [--runs FOLDER]

A fully connected autoencoder of 16×16 grey pixels (after Burger, Schuler and Harmeling, 2012) learns from patches of all
photographs of a folder except the last five. It restores these five as a whole and at their own size, tile by tile in each
colour. It is compared with the best Gaussian blur for each picture, which can be chosen only if the clean picture is known.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import aepipe
import numpy as np
from aepipe import figures, plugins
from aepipe.benchmark.report import table
from aepipe.images.corruption import spoiled
from aepipe.images.data import open_images
from aepipe.images.pixels import as_float, picture
from aepipe.infer.tiles import restore
from aepipe.judging.metrics import psnr_between
from aepipe.progress import say
from PIL import ImageFilter

SIDE, OVERLAP, PATCHES, HELD_OUT, SEED = 16, 12, 400_000, 5, 0
WINDOW = 256  # pixels of a photograph that the figure shows
NOISE = "gaussian:sigma=0.1"
RECIPE = {
    "encoder": "mlp:hidden=1024/1024",
    "decoder": "mlp:hidden=1024/1024",
    "latent_dim": 192,
    "batch_size": 200,
    "corrupt": NOISE,
    "densities": ["gaussian"],
    "epochs": 8,
    "schedule": "cosine",
    "lr": 1e-3,
}
RADII = np.arange(0.4, 2.5, 0.1)  # the radii of the blur that are tried, in pixels

PAGE = """\
# Photographs of any size

Made by `python docs/photographs.py FOLDER` from {count} photographs, those of LIVE1 (Sheikh et al., LIVE Image Quality
Assessment Database). A fully connected autoencoder of {side}×{side} grey pixels (after Burger, Schuler and Harmeling, 2012)
learned to remove noise ({noise}) from {patches:,} patches of {trained} of them. The other {held_out} it restores whole, at their
own size, each colour by overlapping tiles: what `aepipe infer denoise BUNDLE PHOTO --tile --overlap {overlap} -o OUT.png` does.
PSNR in dB; the blur is the Gaussian one of the radius, in pixels, that suits each picture best.

{table}

![the middle of each photograph: clean, noisy, restored](windows.jpg)

The first of them whole, noisy and restored:

![noisy](noisy.jpg) ![restored](restored.jpg)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--out", type=Path, default=Path("docs/photographs"), metavar="FOLDER")
    parser.add_argument("--runs", type=Path, default=Path("runs/photographs"), metavar="FOLDER")
    arguments = parser.parse_args()
    source = open_images(arguments.folder)
    photographs = [source.read_whole(index) for index in range(len(source))]
    trained, kept = photographs[:-HELD_OUT], photographs[-HELD_OUT:]
    bundle = arguments.runs / "denoiser"
    if not (bundle / "manifest.json").exists():
        aepipe.fit(patches(trained), out=arguments.runs / "run", overwrite=True, **RECIPE).export(bundle)
    arguments.out.mkdir(parents=True, exist_ok=True)
    corrupt, lines, windows = plugins.create("corruption", NOISE), [], []
    with aepipe.load(bundle, "cpu") as model:
        for index, photograph in enumerate(kept):
            say(f"restoring {index + 1} of {len(kept)}")
            clean = as_float(photograph)
            noisy = spoiled(corrupt, clean[None], np.array([index]), SEED)[0]
            restored = restore(model, noisy, OVERLAP)
            radius, blurred = best_blur(noisy, clean)
            figures_ = [f"{psnr_between(each, clean):.2f}" for each in (noisy, blurred, restored)]
            lines.append([f"{clean.shape[2]}×{clean.shape[1]}", *figures_, f"{radius:.1f}"])
            windows.append([middle(each) for each in (clean, noisy, restored)])
            if index == 0:
                for name, image in (("noisy", noisy), ("restored", restored)):
                    picture(image).save(arguments.out / f"{name}.jpg", quality=85)
    named = list(zip(("clean", "noisy", "restored"), map(np.stack, zip(*windows, strict=True)), strict=True))
    subtitle = f"the middle {WINDOW}×{WINDOW} pixels of each photograph, at their own size"
    drawn = figures.rows(named, title="Photographs restored by tiles", subtitle=subtitle)
    drawn.save(arguments.out / "windows.jpg", quality=88)  # a PNG of photographs would be five times as large
    text = table(["photograph", "noisy", "best blur", "restored", "blur's radius"], lines)
    facts = {
        "count": len(photographs),
        "trained": len(trained),
        "held_out": len(kept),
        "patches": PATCHES,
        "overlap": OVERLAP,
    }
    page = PAGE.format(side=SIDE, noise=f"`{NOISE}`", table=text, **facts)
    (arguments.out / "README.md").write_text(page, encoding="utf-8")
    print(text)


def patches(photographs: list[np.ndarray]) -> np.ndarray:
    """PATCHES squares [N, SIDE, SIDE] of one colour, from random places; about half of them are mirrored.

    Each photograph [3, H, W] gives equally many.
    """
    rng = np.random.default_rng(SEED)
    made = np.empty((PATCHES, SIDE, SIDE), np.uint8)
    for index, patch in enumerate(made):
        photograph = photographs[index % len(photographs)]
        top, left = (rng.integers(size - SIDE + 1) for size in photograph.shape[1:])
        cut = photograph[rng.integers(3), top : top + SIDE, left : left + SIDE]
        patch[:] = cut[..., ::-1] if rng.integers(2) else cut
    return made


def best_blur(noisy: np.ndarray, clean: np.ndarray) -> tuple[float, np.ndarray]:
    """The radius with which a Gaussian blur of the noisy image comes nearest to the clean image, and the blurred image."""
    image = picture(noisy)
    blurs = {
        radius: np.asarray(image.filter(ImageFilter.GaussianBlur(float(radius)))).transpose(2, 0, 1) for radius in RADII
    }
    radius = max(RADII, key=lambda each: psnr_between(as_float(blurs[each]), clean))
    return float(radius), as_float(blurs[radius])


def middle(image: np.ndarray) -> np.ndarray:
    """The WINDOW × WINDOW pixels in the middle of an image [3, H, W]."""
    top, left = ((size - WINDOW) // 2 for size in image.shape[1:])
    return image[:, top : top + WINDOW, left : left + WINDOW]


if __name__ == "__main__":
    main()
