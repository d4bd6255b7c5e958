"""`aepipe explore`: a bundle as one HTML page, in which a browser runs its graphs. The parts of the page lie in web/.

There are two pages: one to move in the latent space of codes that are vectors, and that of restorer.py.
"""

from __future__ import annotations

import gzip
import json
import re
from base64 import b64encode
from html import escape
from importlib import resources
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from aepipe._types import ImageShape
from aepipe._version import __version__
from aepipe.bundle.manifest import PRECISE
from aepipe.bundle.reader import Bundle
from aepipe.errors import BadInput
from aepipe.files.out import output_kind
from aepipe.files.staged import replacing
from aepipe.images.data import open_images
from aepipe.progress import say

from . import web_runtime
from .restorer import restorer_content, restores

AXES = 16  # the page shows at most so many principal axes
EXAMPLES = 64  # the page holds at most so many example images
LABELS = 40  # colours and shapes can tell so many classes apart
SHARED = ["engine.js", "runtime.js", "random.js", "files.js"]
LATENT = [
    *SHARED,
    "model.js",
    "latent.js",
    "pixels.js",
    "map.js",
    "legend.js",
    "point.js",
    "axes.js",
    "samples.js",
    "image.js",
]
LATENT += ["sheet.js", "between.js", "main.js"]
RESTORER = [*SHARED, "input.js", "tiles.js", "pool.js", "picture.js", "compare.js", "restorer.js"]
WORKER = ["engine.js", "random.js", "input.js", "worker.js"]


def write_explorer(
    bundle: str | Path,
    out: str | Path,
    *,
    images: str | None = None,
    cdn: bool = False,
    runtime: str | Path | None = None,
) -> int:
    """Write the page of a bundle to `out` (.html); returns its size in bytes.

    Which page it is follows from the bundle. `images` is a data string of example images for the page; without it the page
    decodes a few training codes instead, or asks for a picture. With `cdn` the page loads onnxruntime-web from a public network
    when it is opened, else the page contains it; `runtime` is a folder with that package. Raises BadInput or AepipeError, and
    then a file that was at `out` stays as it is.
    """
    output_kind(out, ("html",))
    if cdn and runtime is not None:
        raise BadInput("--cdn leaves the runtime out and --runtime puts it in", "give one of them")
    opened = Bundle(bundle)
    restoring = restores(opened)
    content = restorer_content(opened, images) if restoring else _content(opened, images)
    files = None if cdn else web_runtime.web_runtime(runtime)
    page = _page(opened, content, files, restoring=restoring)
    with replacing(out) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return len(page.encode("utf-8"))


def packed(content: bytes) -> str:
    """The content as base64 of gzip; the result depends on the content alone."""
    return b64encode(gzip.compress(content, 9, mtime=0)).decode()


def for_script(value: Any) -> str:
    """JSON that may stand inside <script>, because nothing in it can end the element or begin a comment; bytes are packed."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"), default=packed)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _content(bundle: Bundle, images: str | None) -> dict[str, Any]:
    """What the page needs of the bundle: graphs, codes and example images, in the form that latent.js and runtime.js read."""
    shape = bundle.space.sized("the page", "look at figures instead: aepipe infer sample BUNDLE -o samples.png")
    graphs: dict[str, str] = {role: packed(bundle.content(bundle.find(role)).content) for role in PRECISE}
    densities = []
    for index, name in enumerate(bundle.densities):
        graphs[f"sample/{index}"] = packed(bundle.content(bundle.find("sample", name)).content)
        told = bundle.takes_label("sample", name)
        densities.append({"name": name, "features": bundle.noise_features(name), "label": told})
    corruption = bundle.trained.get("corruption")
    corruption = corruption if isinstance(corruption, dict) else {}
    return {
        "name": bundle.name,
        "shape": list(bundle.shape),
        "latent": bundle.latent,
        "task": bundle.task,
        "corruption": str(corruption.get("name") or ""),
        "sigma": _number(corruption.get("options"), "sigma"),
        "graphs": graphs,
        "densities": densities,
        "shares": [round(float(each), 6) for each in bundle.class_shares],
        **_codes(bundle),
        "examples": _examples(images, shape) if images else None,
    }


def _number(options: Any, key: str) -> float | None:
    value = options.get(key) if isinstance(options, dict) else None
    return float(value) if isinstance(value, int | float) and np.isfinite(value) else None


def _codes(bundle: Bundle) -> dict[str, Any]:
    """The training codes with their principal axes, and their labels if there are at most LABELS classes."""
    codes, labels = bundle.codes()
    mean, axes, share = principal_axes(codes)
    found: dict[str, Any] = {
        "count": len(codes),
        "codes": packed(codes.astype("<f4").tobytes()),
        "mean": packed(mean.astype("<f4").tobytes()),
        "axes": packed(axes.astype("<f4").tobytes()),
        "share": [round(float(each), 6) for each in share],
        "labels": None,
        "classes": 0,
    }
    if labels is not None and labels.shape == (len(codes),):
        classes, of = np.unique(labels, return_inverse=True)
        found["classes"] = len(classes)
        if len(classes) <= LABELS:
            names = [str(each) for each in classes.tolist()]
            found["labels"] = {"names": names, "of": packed(of.astype("u1").tobytes())}
    return found


def principal_axes(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mean [d], up to 16 principal axes [k, d] and the share of the variance along each [k].

    Each axis points where its largest entry is positive, so that the same codes give the same map everywhere.
    """
    codes = codes.astype(np.float64)
    mean = codes.mean(0)
    centred = codes - mean
    variances, vectors = np.linalg.eigh(centred.T @ centred / len(codes))
    order = np.argsort(-variances)[:AXES]
    axes = vectors.T[order]
    largest = axes[np.arange(len(axes)), np.abs(axes).argmax(1)]
    total = variances.clip(0).sum()
    return mean, axes * np.where(largest < 0, -1, 1)[:, None], variances[order].clip(0) / (total or 1)


def _examples(images: str, shape: ImageShape) -> dict[str, Any]:
    source = open_images(images, shape=shape, limit=EXAMPLES)
    say(source.describe())
    pixels = source.read(np.arange(len(source)))
    if pixels.dtype != np.uint8:
        pixels = pixels.astype("<f4")
    kind = "uint8" if pixels.dtype == np.uint8 else "float32"
    name = PurePath(source.name).name  # a page may be passed on, so it must not name folders of this machine
    return {"name": name, "count": len(pixels), "kind": kind, "pixels": packed(pixels.tobytes())}


def _page(bundle: Bundle, content: dict[str, Any], files: dict[str, bytes] | None, *, restoring: bool) -> str:
    template = resources.files("aepipe.explore") / "web"

    def read(*names: str) -> str:
        return "\n".join((template / name).read_text(encoding="utf-8") for name in names)

    def script(names: list[str]) -> str:
        return "\n".join(f"// {name}\n{read(name)}" for name in names)

    main, module, wasm = web_runtime.SHA256
    urls = {"library": main, "module": module, "wasm": wasm}
    content["cdn"] = None
    # The page of the latent space runs the library itself, that of a restorer gives it to workers, as text.
    elements = {"worker": script(WORKER).encode()} if restoring else {}
    runtime = []
    if files is None:
        content["cdn"] = {
            key: {"url": web_runtime.CDN + file, "integrity": web_runtime.integrity(file)} for key, file in urls.items()
        }
        if not restoring:
            checked = f'integrity="{web_runtime.integrity(main)}" crossorigin="anonymous"'
            runtime = [f'<script src="{web_runtime.CDN}{main}" {checked}></script>']
    else:
        library = re.sub(r"\n//# sourceMappingURL=\S+\s*$", "\n", files[main].decode())
        elements |= {"module": files[module], "wasm": files[wasm]}
        if restoring:
            elements["library"] = library.encode()
        else:
            runtime = [f"<script>{_inside_script(library)}</script>"]
    runtime += [f'<script type="text/plain" id="{key}">{packed(each)}</script>' for key, each in elements.items()]
    parts = {
        "name": escape(bundle.name),
        "latent": "1 number" if bundle.latent == 1 else f"{bundle.latent} numbers",
        "version": escape(__version__),
        "web": web_runtime.VERSION,
        "hosts": "https://cdn.jsdelivr.net" if files is None else "",
        "classes": "starting empty" if restoring else "starting",
        "style": read("page.css", *(["restorer.css"] if restoring else [])),
        "runtime": "\n".join(runtime),
        "content": for_script(content),
        "script": _inside_script(script(RESTORER if restoring else LATENT)),
    }
    frame = read("page.html").replace("{{main}}", read("restorer.html" if restoring else "latent.html"))
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], frame)


def _inside_script(script: str) -> str:
    """The script, changed so that no text in it ends the element <script>; in JavaScript strings \\x3c is <."""
    return re.sub(r"<(?=/script|!--|script)", r"\\x3c", script, flags=re.IGNORECASE)
