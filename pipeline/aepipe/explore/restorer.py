"""The content of the page of a model that restores pictures of any size: those whose sides are open, or whose code is a map."""

from __future__ import annotations

import io
import math
from pathlib import PurePath
from typing import Any

import numpy as np

from aepipe.bundle.manifest import PRECISE
from aepipe.bundle.reader import Bundle
from aepipe.errors import BadInput
from aepipe.images.data import open_images
from aepipe.images.pixels import picture
from aepipe.progress import say
from aepipe.space import is_bounded

LARGEST = 1_000_000  # pixels of the example; of a larger picture the page has the middle
SHARE = 0.75  # of a range of noise: where in its upper half the page begins
MOST_NOISE = 0.5  # where the slider ends, unless the model was trained on more


def restores(bundle: Bundle) -> bool:
    """Whether a bundle gets the page of a restorer: its samples are images, of any size or with a code that is a map."""
    return bundle.space.kind == "image" and (not bundle.space.fixed or bundle.latent.spatial)


def restorer_content(bundle: Bundle, images: str | None) -> dict[str, Any]:
    """What the page needs of the bundle, in the form that runtime.js and restorer.js read; bytes are still to be packed.

    The example is the first image of the data string `images`, at its own size. Raises BadInput for models of other things
    than grey and colour pictures, and for images that cannot be read.
    """
    if bundle.space.channels not in (1, 3) or not is_bounded(bundle.manifest.data.raw):
        what = f"{bundle.space.channels} channels" if is_bounded(bundle.manifest.data.raw) else "unbounded values"
        hint = "restore arrays instead: aepipe infer reconstruct BUNDLE INPUT -o OUT"
        raise BadInput(f"the page shows grey and colour pictures, and this model is of images with {what}", hint)
    data, noise = bundle.manifest.data, _noise(bundle)
    if data.raw is not None and data.raw.range is not None and data.raw.dtype != "uint8":
        black, white = data.raw.range
        units = f"Black and white of a picture are {black:g} and {white:g} to the model."
        noise["note"] = f"{noise['note']} {units}".strip()
    return {
        "name": bundle.name,
        "shape": list(data.shape),
        "multiple": data.multiple,
        "reach": data.reach,
        "task": bundle.task,
        "noise": noise,
        "graphs": {role: bundle.content(bundle.find(role)).content for role in PRECISE},
        "example": _example(images, bundle) if images else None,
    }


def _noise(bundle: Bundle) -> dict[str, Any]:
    """The noise that the page adds: how much at first, how much at most, whether it is clipped, and what there is to say of it."""
    record = bundle.trained.get("corruption")
    record = record if isinstance(record, dict) else {}
    name, options = record.get("name"), record.get("options")
    if name != "gaussian" or not isinstance(options, dict):
        note = f"The model was trained against “{name}”; the noise here is Gaussian." if name else ""
        return {"usual": 0.0, "most": MOST_NOISE, "clip": True, "note": note}
    low, high = _ends(options.get("sigma"))
    usual, most = low + SHARE * (high - low), max(MOST_NOISE, math.ceil(high * 10) / 10)
    trained = f"{high:g}" if low == high else f"{low:g} to {high:g}"
    clip = options.get("clip") is not False
    note = (
        f"The number is the standard deviation of Gaussian noise, where white is 1. The model was trained on {trained}."
    )
    if not clip:
        note += " Values outside black and white are cut off for display only."
    return {"usual": round(usual, 2), "most": most, "clip": clip, "note": note}


def _ends(sigma: Any) -> tuple[float, float]:
    """The ends of a number or of a range, as a manifest has it; 0 to 0 for what is neither."""
    given = sigma.split("..") if isinstance(sigma, str) else sigma if isinstance(sigma, list | tuple) else [sigma]
    try:
        numbers = [float(each) for each in given]
    except (TypeError, ValueError):
        return 0.0, 0.0
    usable = 1 <= len(numbers) <= 2 and all(0 <= each <= 100 for each in numbers)  # NaN fails too
    return (min(numbers), max(numbers)) if usable else (0.0, 0.0)


def _example(images: str, bundle: Bundle) -> dict[str, Any]:
    """The first image of a data string as a file: PNG where that is small, else JPEG at a quality that shows no loss."""
    raw = bundle.manifest.data.raw
    source = open_images(images, limit=1, raw=raw)
    if raw is not None and source.dtype == np.uint8 != np.dtype(raw.dtype):
        source = open_images(images, limit=1)  # a picture, which the page takes from black to white as any other
    say(source.describe(whole=True))
    name = PurePath(source.paths[0] if source.paths else source.name).name  # no folder of this machine
    image = source.read_whole(0)
    if image.ndim != 3 or len(image) not in (1, 3):
        message = f"{source.name} has samples of shape {list(image.shape)}, and the page shows grey and colour pictures"
        raise BadInput(message, "give pictures with 1 or 3 channels")
    shown = picture(_middle(image))
    png, jpeg = io.BytesIO(), io.BytesIO()
    shown.save(png, "PNG", optimize=True)
    shown.save(jpeg, "JPEG", quality=95, subsampling=0)
    small = len(png.getvalue()) <= 1.5 * len(jpeg.getvalue())
    kind, file = ("png", png) if small else ("jpeg", jpeg)
    return {"name": name, "type": f"image/{kind}", "bytes": file.getvalue()}


def _middle(image: np.ndarray) -> np.ndarray:
    """The image [C, H, W], or its middle of LARGEST pixels in the same proportions."""
    height, width = image.shape[1:]
    part = math.sqrt(min(1, LARGEST / (height * width)))
    high, wide = max(1, int(height * part)), max(1, min(int(width * part), LARGEST))
    top, left = (height - high) // 2, (width - wide) // 2
    return image[:, top : top + high, left : left + wide]
