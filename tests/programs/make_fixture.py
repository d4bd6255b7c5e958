"""Write what every later aepipe must load: python -m tests.programs.make_fixture bundle|maps|signals|run FOLDER

See the README.md of tests/fixtures/format-1 and of tests/fixtures/run-1.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import aepipe
import numpy as np
import onnxruntime
from aepipe.bundle.manifest import Manifest
from aepipe.bundle.reader import Bundle
from PIL import Image
from sklearn.datasets import load_digits

README = """# A bundle of format {format}, kept

`bundle/` was written by aepipe {version} with `python -m tests.programs.make_fixture {kind} {folder}` (its preview was then
saved in fewer colours), and `expected.npz` holds inputs of every task and what that aepipe made of them, on the CPU.
tests/bundle/test_compatibility.py runs them through the code of today. Never make it again: it stands for the bundles that
people have. A new format, or new kinds of graphs, get a folder of their own beside it.
"""

RUN_README = """# A run, kept

`run/` was written by aepipe {version} with `python -m tests.programs.make_fixture run {folder}`, without its curve;
`expected.npz` holds inputs of every task and what the bundle that this aepipe exported from it made of them, on the CPU.
tests/workshop/test_run_compatibility.py opens it with the code of today. Never make it again: it stands for the runs that
people have. A new format gets a folder of its own beside it.
"""

OWN = ("encoder", "decoder", "sample", "log_prob", "noise")  # roles of graphs that aepipe runs itself
Arrays = dict[str, np.ndarray]


def make_bundle(folder: Path) -> None:
    """Train, export and run."""
    with tempfile.TemporaryDirectory() as scratch:
        run = aepipe.fit(
            np.float32(load_digits().images / 16),  # 8x8, so that everything stays small
            encoder="conv:channels=16",
            decoder="deconv:channels=16",
            latent_dim=4,
            densities=("gaussian", "pca", "gmm:components=3"),
            epochs=30,
            batch_size=50,
            limit=800,
            schedule="cosine",
            lr=5e-3,
            out=Path(scratch) / "run",
        )
        bundle = run.export(folder / "bundle", precision="fp32,int8", io="uint8", max_drop=0.1)  # all that there are
    shrink(bundle)
    note(folder, bundle, README, "bundle")


def make_maps(folder: Path) -> None:
    """12-bit images of any size through a code that is a map."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(100, 4000, (200, 4, 4)).repeat(2, 1).repeat(2, 2).astype(np.uint16)
    pair = {"encoder": "resnet-map:channels=4,blocks=1,down=2", "decoder": "resnet-map:channels=4,blocks=1"}
    make_small(folder, "maps", blocks, range="0..4095", **pair, latent_dim=2, epochs=3)


def make_signals(folder: Path) -> None:
    """Pulses of two channels in units of their own."""
    rng = np.random.default_rng(0)
    time, centre = np.linspace(0, 1, 48), rng.uniform(0.2, 0.8, (300, 2, 1))
    pulses = rng.uniform(-50, 50, (300, 2, 1)) * np.exp(-(((time - centre) / 0.1) ** 2))
    pair = {"encoder": "conv:channels=8", "decoder": "deconv:channels=8"}
    pulses = pulses.astype(np.float32)
    make_small(folder, "signals", pulses, layout="NCL", range="none", **pair, latent_dim=4, epochs=5)


def make_small(folder: Path, kind: str, values: np.ndarray, **settings: Any) -> None:
    """Train on samples for a moment, export with all that there is, and run."""
    with tempfile.TemporaryDirectory() as scratch:
        run = aepipe.fit(values, batch_size=20, lr=5e-3, out=Path(scratch) / "run", **settings)
        shrink(run.export(folder / "bundle", io="uint8"))
    note(folder, folder / "bundle", README, kind)


def shrink(bundle: Path) -> None:
    """Save the preview in fewer colours, which nothing checks."""
    with Image.open(bundle / "preview.png") as preview:
        preview.quantize(32).save(bundle / "preview.png", optimize=True)
    Manifest.write(Bundle(bundle).manifest.hashed(bundle), bundle)


def make_run(folder: Path) -> None:
    """Train, keep the run, export it and run that."""
    run = aepipe.fit(
        "digits:size=8",
        encoder="mlp:hidden=16",
        decoder="mlp:hidden=16",
        latent_dim=2,
        densities=("gaussian", "pca"),
        epochs=1,
        precision="fp32",
        device="cpu",
        out=folder / "run",
    )
    (folder / "run" / "curve.png").unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        note(folder, run.export(Path(scratch) / "bundle"), RUN_README, "run")


def note(folder: Path, bundle: Path, readme: str, kind: str) -> None:
    """Write what the bundle makes of some inputs, and what lies there."""
    given = inputs(bundle)
    np.savez_compressed(folder / "expected.npz", **given, **outputs(bundle, given))
    form = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))["format"]
    text = readme.format(version=aepipe.__version__, folder=folder.as_posix(), format=form, kind=kind)
    (folder / "README.md").write_text(text, encoding="utf-8")


def inputs(bundle: Path) -> Arrays:
    """Three images, noise for each density, and two of whatever the graphs take that aepipe itself does not run."""
    rng = np.random.default_rng(0)
    with aepipe.load(bundle, provider="cpu", threads=1) as model:
        found = {"given images": model.sample(3, seed=1)}
        for name in model.bundle.densities:
            size = model.bundle.noise_features(name)
            found[f"given noise {name}"] = rng.standard_normal((2, size), dtype=np.float32)
    for graph in others(bundle):
        for name, tensor in graph["inputs"].items():
            values = rng.random((2, *sizes_of(tensor["shape"][1:])), dtype=np.float32)
            found[f"given {graph['file']} {name}"] = np.uint8(255 * values) if tensor["dtype"] == "uint8" else values
    return found


def sizes_of(shape: list[int | str]) -> list[int]:
    """The sizes of an example: sides that are open, such as 4*h, are two and three steps long."""
    steps = {"d": 2, "h": 2, "w": 3}
    open_sides = [str(size).partition("*")[::2] for size in shape]
    return [
        size if isinstance(size, int) else (int(step) * steps[name] if name else steps[step])
        for size, (step, name) in zip(shape, open_sides, strict=True)
    ]


def outputs(bundle: Path, given: Arrays) -> Arrays:
    """What the runtime makes of these inputs now: task by task, then the other graphs."""
    images = given["given images"]
    with aepipe.load(bundle, provider="cpu", threads=1) as model:
        found = {
            "encode": model.encode(images),
            "decode": model.decode(model.encode(images)[:1]),
            "reconstruct": model.reconstruct(images),
            "denoise": model.denoise(images[:1]),
            "interpolate": model.interpolate(images[:1], images[1:2], steps=4),
            "error": model.score(images)["error"],
        }
        for name in model.bundle.densities:
            codes = model.from_noise(given[f"given noise {name}"], name)
            found |= {f"codes {name}": codes, f"samples {name}": model.decode(codes)}
            found |= {f"log_density {name}": model.score(images, name)["log_density"]}
            if model.bundle.has("noise", name):
                found |= {f"inverse {name}": model.noise(codes, name)}
        precisions = model.bundle.precisions
    if "int8" in precisions:
        with aepipe.load(bundle, provider="cpu", precision="int8", threads=1) as model:
            found |= {"reconstruct int8": model.reconstruct(images)}
    for graph in others(bundle):
        session = onnxruntime.InferenceSession(str(bundle / graph["file"]), providers=["CPUExecutionProvider"])
        made = session.run(
            list(graph["outputs"]), {name: given[f"given {graph['file']} {name}"] for name in graph["inputs"]}
        )
        found |= {f"{graph['file']} {name}": values for name, values in zip(graph["outputs"], made, strict=True)}
    return found


def others(bundle: Path) -> list[dict[str, Any]]:
    """The graphs that other programs use and aepipe does not: bytes in and out, whole tasks."""
    graphs = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))["graphs"]
    return [graph for graph in graphs if graph["role"] not in OWN or graph.get("io", "float") != "float"]


def main() -> None:
    makers = {"bundle": make_bundle, "maps": make_maps, "signals": make_signals, "run": make_run}
    if len(sys.argv) != 3 or sys.argv[1] not in makers:
        sys.exit(__doc__)
    folder = Path(sys.argv[2])
    if folder.exists():
        sys.exit(f"{folder} is there, and what is kept is never made again: give a new folder")
    makers[sys.argv[1]](folder)


if __name__ == "__main__":
    main()
