"""Hostile inputs: bundles, runs, images, arrays and calibrations of strangers, each made of a sound one and a seed."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import random
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.helpers.places import FIXTURES, KEPT, MNIST

Words = list[str]  # what is typed after `aepipe`
BUNDLES = [MNIST, MNIST, *(kept / "bundle" for kept in KEPT if kept.name != "format-1")]
RUN = FIXTURES / "run-1" / "run"

STRANGE: list[Any] = [
    None, True, -1, 0, 1, 2**31, 2**63, 10**400, 1.5, float("nan"), float("inf"), "", "x", "../../x", "/etc/passwd", "a\x00b",
    "\x1b[2J", "\u202e", "é" * 300, [], [[]], [1] * 50, {}, {"a": {"a": {}}}, "encoder", "pca", "float32", "batch",
]  # fmt: skip


def way_into(value: Any, draw: random.Random) -> list[Any]:
    """A way to some entry of a JSON document, drawn level by level, so that a long list counts no more than a number."""
    way = []
    while isinstance(value, dict | list) and value:
        key = draw.choice(list(value)) if isinstance(value, dict) else draw.randrange(len(value))
        way.append(key)
        value = value[key]
        if draw.random() < 0.35:
            break
    return way


def mutated_json(entries: Any, draw: random.Random) -> str:
    """The document with one to three entries changed, dropped, doubled or moved; sometimes its text is spoiled too."""
    for _ in range(draw.randint(1, 3)):
        way = way_into(entries, draw)
        if not way:
            break
        *path, last = way
        inner = entries
        for key in path:
            inner = inner[key]
        change = draw.random()
        if change < 0.6:
            inner[last] = copy.deepcopy(draw.choice(STRANGE))  # a value that is changed later must not hold itself
        elif change < 0.8:
            del inner[last]
        elif isinstance(inner, list):
            inner.insert(draw.randint(0, len(inner)), inner[last])
        else:
            inner[draw.choice(["format", "name", "file", str(last) + "x"])] = inner[last]
    text = json.dumps(entries)
    spoil = draw.random()
    if spoil < 0.05:
        return text[: draw.randint(0, len(text))]
    if spoil < 0.08:
        return "[" * 100_000
    if spoil < 0.11:
        return text.replace("1", "9" * 5000, 1)
    if spoil < 0.14:
        return text.replace("{", '{"name": "twice", "name": 3, ', 1)
    return text


def mutated_bytes(content: bytes, draw: random.Random) -> bytes:
    """The content with a few bytes changed, cut off, repeated or replaced by endless varints."""
    data = bytearray(content)
    for _ in range(draw.choice([1, 1, 2, 4, 16])):
        if not data:
            break
        at = draw.randrange(len(data))
        change = draw.random()
        if change < 0.5:
            data[at] = draw.choice([0, 0xFF, 0x7F, 0x80, draw.randrange(256)])
        elif change < 0.65:
            del data[at:]
        elif change < 0.8:
            del data[at : at + draw.randint(1, 64)]
        elif change < 0.95:
            data[at:at] = data[at : at + draw.randint(1, 64)]
        else:
            data[at:at] = b"\xff" * draw.choice([9, 11, 100_000])
    return bytes(data)


def a_bundle(folder: Path, draw: random.Random) -> Path:
    """A copy of a sound bundle; `of.txt` beside it names the sound one."""
    sound = draw.choice(BUNDLES)
    (folder / "of.txt").write_text(str(sound))
    return Path(shutil.copytree(sound, folder / "bundle"))


def a_manifest(folder: Path, draw: random.Random) -> Words:
    bundle = a_bundle(folder, draw)
    path = bundle / "manifest.json"
    path.write_text(mutated_json(json.loads(path.read_text()), draw), encoding="utf-8", errors="surrogatepass")
    return _with_bundle(bundle, folder, draw)


def a_graph(folder: Path, draw: random.Random) -> Words:
    """Bytes of a graph are changed, and the manifest has their hash."""
    bundle = a_bundle(folder, draw)
    manifest = json.loads((bundle / "manifest.json").read_text())
    entry = draw.choice(manifest["graphs"])
    content = mutated_bytes((bundle / entry["file"]).read_bytes(), draw)
    (bundle / entry["file"]).write_bytes(content)
    entry["sha256"] = hashlib.sha256(content).hexdigest()
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    return _with_bundle(bundle, folder, draw)


def a_file_of_a_bundle(folder: Path, draw: random.Random) -> Words:
    """A file beside the graphs is damaged, replaced by a link out of the bundle, or a folder."""
    bundle = a_bundle(folder, draw)
    path = draw.choice([each for each in sorted(bundle.rglob("*")) if each.is_file()])
    content = path.read_bytes()
    path.unlink()
    change = draw.random()
    if change < 0.5:
        path.write_bytes(mutated_bytes(content, draw))
    elif change < 0.7:
        path.symlink_to("/etc/passwd")
    elif change < 0.9:
        path.mkdir()
    return _with_bundle(bundle, folder, draw)


def _with_bundle(bundle: Path, folder: Path, draw: random.Random) -> Words:
    task = draw.choice(["sample", "encode", "reconstruct", "score", "decode", "inspect", "explore", "interpolate"])
    infer = ["infer", "--provider", "cpu", "--limit", "4"]
    density = draw.choice([[], ["--density", "pca"], ["--density", "gmm"]])
    if task == "sample":
        return [*infer, "sample", str(bundle), "--count", "3", *density, "-o", str(folder / "o.npy")]
    given = draw.choice(["digits", "digits", str(folder / "in.npy")])
    np.save(folder / "in.npy", np.zeros((3, 2, 48), np.float32))
    if task == "decode":
        np.save(folder / "codes.npy", np.zeros(draw.choice([(3, 8), (3, 4), (3, 2, 2, 5)]), np.float32))
        return [*infer, "decode", str(bundle), str(folder / "codes.npy"), "-o", str(folder / "o.npy")]
    if task == "inspect":
        return ["inspect", str(bundle), *draw.choice([[], ["--json"]])]
    if task == "explore":
        return ["explore", str(bundle), "--cdn", "-o", str(folder / "page.html")]
    if task == "interpolate":
        path = draw.choice(["linear", "slerp", "density"])
        return [
            *infer,
            "interpolate",
            str(bundle),
            given,
            "--pairs",
            "1",
            "--path",
            path,
            "-o",
            str(folder / "o.npy"),
        ]
    more = density if task == "score" else []
    return [*infer, task, str(bundle), given, *more, "-o", str(folder / ("o.csv" if task == "score" else "o.npy"))]


def an_image(folder: Path, draw: random.Random) -> Words:
    """An image file that is damaged, of another format than its ending says, or of an odd kind."""
    photos = folder / "photos"
    photos.mkdir()
    numbers = np.random.default_rng(draw.randrange(2**32))
    mode = draw.choice(["L", "RGB", "RGBA", "P", "LA", "1", "CMYK", "I;16", "F", "LAB", "HSV", "YCbCr"])
    sides = draw.choice([(1, 1), (3, 7), (28, 28), (90, 60), (2000, 1)])
    image = Image.fromarray(numbers.integers(0, 256, (*sides, 3), dtype=np.uint8)).convert(
        "L" if mode in ("I;16", "F") else "RGB"
    )
    image = image.convert(mode) if mode not in ("I;16", "LAB", "HSV", "YCbCr") else image
    buffer = io.BytesIO()
    kind = draw.choice(["PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM", "EPS", "PDF", "ICO", "TGA"])
    try:
        image.save(buffer, kind, exif=draw.choice([b"", b"Exif\0\0broken", b"\xff" * 60]))
    except (OSError, ValueError, KeyError, TypeError, SyntaxError):
        Image.new("RGB", sides).save(buffer, "PNG")
    content = buffer.getvalue()
    ending = draw.choice(["png", "jpg", "tif", "webp", "gif", "bmp", "ppm"])
    (photos / f"a.{ending}").write_bytes(mutated_bytes(content, draw) if draw.random() < 0.7 else content)
    Image.new("L", (28, 28)).save(photos / "sound.png")
    more = draw.choice([[], ["--skip-bad"]])
    task, out = draw.choice([("encode", "o.npy"), ("reconstruct", "o/"), ("score", "o.csv"), ("reconstruct", "o.png")])
    return ["infer", "--provider", "cpu", task, str(MNIST), str(photos), *more, "-o", f"{folder}/{out}"]


def an_array(folder: Path, draw: random.Random) -> Words:
    """A .npy, .npz or IDX file that is damaged, or of an odd type, shape or order."""
    numbers = np.random.default_rng(draw.randrange(2**32))
    shape = draw.choice(
        [
            (4, 28, 28),
            (4, 1, 28, 28),
            (4, 28, 28, 1),
            (28, 28),
            (0, 28, 28),
            (4, 3, 28, 28),
            (2, 2, 2, 2, 2),
            (4, 2, 48),
            (4, 48, 2),
            (),
        ]
    )
    kinds = ["u1", "f4", "f8", "f2", ">f4", "i8", "?", "c8", "U3", "M8[s]", "V5"]
    array = (numbers.random(shape) * draw.choice([1, 1, 255, 1e30])).astype("f8")
    if draw.random() < 0.2 and array.size:
        array.flat[0] = draw.choice([np.nan, np.inf, -np.inf])
    with np.errstate(all="ignore"):
        try:
            array = array.astype(draw.choice(kinds), order=draw.choice(["C", "F"]))
        except (TypeError, ValueError):
            array = np.full(shape, None)
    buffer, ending = io.BytesIO(), draw.choice([".npy", ".npz", ".npy", ".idx"])
    if ending == ".npz":
        np.savez(buffer, **{draw.choice(["images", "x_test", "arr", "a/b", "codes"]): array, "labels": np.arange(4)})
    elif ending == ".idx":
        buffer.write(
            bytes([0, 0, draw.choice([8, 9, 13, 99]), 3]) + np.array([4, 28, 28], ">u4").tobytes() + bytes(4 * 28 * 28)
        )
    else:
        np.save(buffer, array, allow_pickle=True)
    content = buffer.getvalue()
    content = mutated_bytes(content, draw) if draw.random() < 0.6 else content
    path = folder / f"x{ending}"
    path.write_bytes(content)
    if draw.random() < 0.1:
        path = folder / "bomb.npz"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            header = (
                b"\x93NUMPY\x01\x00v\x00"
                + f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({2**40}, 28, 28), }}".encode()
            )
            archive.writestr("images.npy", header.ljust(127) + b"\n" + bytes(10_000))
    task = draw.choice(["encode", "reconstruct", "score", "decode"])
    out = "o.csv" if task == "score" else "o.npy"
    axes = draw.choice(["NCL", "NLC", "NHW", "NHWC", "NC", "NCDHW", "nonsense"])
    more = [] if task == "decode" else draw.choice([[], [], ["--clip"], ["--layout", axes]])
    sound = draw.choice(BUNDLES)
    (folder / "of.txt").write_text(str(sound))
    words = ["infer", "--provider", "cpu", "--limit", "4", task, str(sound), str(path)]
    return [*words, *more, "-o", f"{folder}/{out}"]


def a_run(folder: Path, draw: random.Random) -> Words:
    """run.json or another file of a run is changed."""
    run = Path(shutil.copytree(RUN, folder / "run"))
    path = run / "run.json"
    if draw.random() < 0.6:
        path.write_text(mutated_json(json.loads(path.read_text()), draw), encoding="utf-8", errors="surrogatepass")
    else:
        path = draw.choice([each for each in sorted(run.rglob("*")) if each.is_file()])
        path.write_bytes(mutated_bytes(path.read_bytes(), draw))
    task = draw.choice(["fit-density", "fit-density", "resume", "eval"])
    if task == "fit-density":
        return ["fit-density", str(run), draw.choice(["pca", "mine=gaussian", "../x=pca", "gaussian"])]
    if task == "resume":
        return ["train", "--resume", str(run)]
    return ["eval", str(run), "--data", "digits:size=8", "--limit", "4"]


def a_calibration(folder: Path, draw: random.Random) -> Words:
    quantiles = {column: sorted(draw.random() for _ in range(1001)) for column in ("error", "log_density")}
    entries = {
        "format": 1, "pair": json.loads((MNIST / "manifest.json").read_text())["pair"], "density": "gaussian",
        "precision": "fp32", "data": "x.npy", "count": 100, "false_alarm": 0.05, "threshold": 9.0, "quantiles": quantiles,
    }  # fmt: skip
    (folder / "c.json").write_text(mutated_json(entries, draw), encoding="utf-8", errors="surrogatepass")
    words = ["infer", "--provider", "cpu", "--limit", "4", "score", str(MNIST), "digits", "-o", f"{folder}/o.csv"]
    return [*words, "--calibration", str(folder / "c.json")]


Maker = Callable[[Path, random.Random], Words]
KINDS: dict[str, Maker] = {
    "manifests": a_manifest,
    "graphs with corrected hashes": a_graph,
    "other files of a bundle": a_file_of_a_bundle,
    "images": an_image,
    "arrays": an_array,
    "runs": a_run,
    "calibrations": a_calibration,
}
