"""Makes a picture or an array the input of a bundle, and compares every stage of a bundle with its test vectors.

python check.py BUNDLE
"""

import json
import sys
from pathlib import Path

import numpy as np

RULE = {"orientation": "exif", "alpha": "white", "grey": "ITU-R 601-2", "filter": "bicubic"}


def described(bundle):
    """The manifest, and what it says about samples; format 1 has that as "image"."""
    if not (bundle / "manifest.json").is_file():
        sys.exit(f"{bundle} is no bundle: it has no manifest.json")
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    if manifest["format"] > 2:
        sys.exit(f"{bundle} has format {manifest['format']}, this program reads formats 1 and 2")
    return manifest, manifest.get("data") or manifest["image"]


def prepared(path, data):
    """A file as the input of the graphs, float32 [N, C, *sides]: docs/preparation.md."""
    values = np.load(path, allow_pickle=False) if path.suffix == ".npy" else picture(path, data)
    low, high = ends(data, values.dtype)
    scaled = (values - np.float64(low)) / (high - low)
    if data["range"] and (data.get("raw") or {}).get("clip"):
        scaled = scaled.clip(0, 1)
    if not np.isfinite(scaled).all() or (data["range"] and np.any((scaled < 0) | (scaled > 1))):
        sys.exit(f"{path} has values that are not in {low:g}..{high:g}")
    return scaled.astype(np.float32)


def ends(data, dtype=None):
    """The two raw values that are 0 and 1 in the graphs."""
    if data.get("raw"):
        return data["raw"].get("range") or (0, 1)
    return (0, 255 if dtype == np.uint8 else 1)


def picture(path, data):
    """An image file as bytes [1, C, H, W]."""
    from PIL import Image, ImageOps

    if any((data.get("prepare") or RULE).get(key, value) != value for key, value in RULE.items()):
        sys.exit("the bundle prepares pictures by a rule that this program does not know")
    if len(data["shape"]) != 3 or data["shape"][0] not in (1, 3):
        sys.exit(f"{path} is a picture, and the samples are {data['shape']}: give them as .npy")
    image = Image.open(path, formats=["PNG", "JPEG"])
    if (image.format == "PNG" and path.read_bytes()[24] > 8) or getattr(image, "is_animated", False):
        sys.exit(f"{path} has more than 8 bits a channel, or several frames")
    image = ImageOps.exif_transpose(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    channels, height, width = data["shape"]
    image = image.convert("L" if channels == 1 else "RGB")
    if height and width and image.size != (width, height):
        image = covering(image, width, height)
    return np.atleast_3d(np.asarray(image)).transpose(2, 0, 1)[None]


def covering(image, width, height):
    """An image, cropped about its centre and resized; Pillow's ImageOps.fit does the same, in an order that its version chooses."""
    whole, wanted = image.width / image.height, width / height
    box_width = wanted * image.height if whole > wanted else image.width
    box_height = image.width / wanted if whole < wanted else image.height
    left, top = (image.width - box_width) * 0.5, (image.height - box_height) * 0.5
    bicubic = 3  # Image.Resampling.BICUBIC
    narrow = image.resize((width, image.height), bicubic, (left, 0, left + box_width, image.height))
    return narrow.resize((width, height), bicubic, (0, top, width, top + box_height))


def padded(sample, data):
    """Samples whose sides are the next multiples, continued by reflection."""
    missing = [(0, -side % data.get("multiple", 1)) for side in sample.shape[2:]]
    return np.pad(sample, [(0, 0), (0, 0), *missing], "reflect")


def cropped(restored, sample):
    """What is decoded, without what `padded` added to this sample."""
    return restored[(..., *map(slice, sample.shape[2:]))]


def error(restored, sample):
    """The mean squared difference of each sample, in the numbers of the graphs."""
    return np.square(restored - sample).reshape(len(sample), -1).mean(1)


def check(bundle, opened):
    """Print the largest difference of each stage, divided by max(1, |value|), and end with 1 where one exceeds the tolerance."""
    manifest, data = described(bundle)
    if not manifest.get("vectors"):
        sys.exit(f"{bundle} has no test vectors: format 1 has none")
    place = bundle / manifest["vectors"]
    scores = json.loads((place / "scores.json").read_bytes())
    tolerance = scores.get("tolerance", 1e-4)  # the first vectors do not state it
    (given,) = place.glob("input.*")
    sample = prepared(given, data)
    code = opened(bundle, "encoder")(padded(sample, data))
    restored = cropped(opened(bundle, "decoder")(code), sample)
    found = {"prepared": sample, "latent": code, "reconstruction": restored}
    stated = {stage: np.load(place / f"{stage}.npy", allow_pickle=False) for stage in found}
    found["error"], stated["error"] = error(restored, sample), np.float32([scores["error"]])
    for density, value in scores["log_density"].items():
        if value is not None:
            found[f"log_density {density}"] = opened(bundle, "log_prob", density)(code)
            stated[f"log_density {density}"] = np.float32([value])
    agrees = True
    for stage, value in found.items():
        if value.shape != stated[stage].shape:
            sys.exit(f"{stage}: {list(value.shape)} where the vectors have {list(stated[stage].shape)}")
        apart = (np.abs(value - stated[stage]) / np.maximum(1, np.abs(stated[stage]))).max()
        fits = bool(apart <= tolerance)  # NaN does not
        print(f"{stage}: {apart:.1e}" + ("" if fits else f", which is more than {tolerance:.0e}"))
        agrees = agrees and fits
    sys.exit(0 if agrees else 1)


if __name__ == "__main__":
    from host import opened

    check(Path(sys.argv[1]), opened) if len(sys.argv) == 2 else sys.exit(__doc__)
