"""Figures that depend on the machine, so they are measured and printed, not asserted: python tests/bench.py [NAME …]

Where two things are compared they are measured in turns and the ratio of each pair is taken: what else the machine does
then disturbs both alike. Names: startup, one_image, overlap, memory, training. --bundle measures your own; else a small one is
made.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

AEPIPE = [sys.executable, "-m", "aepipe"]
PEAK = """
import sys
from aepipe.cli import run
code = run(sys.argv[1:])
status = open("/proc/self/status").read()
print(status.partition("VmHWM:")[2].split()[0])
sys.exit(code)
"""


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def process(*command: object) -> Callable[[], object]:
    # Compiled files are written and used, as in an installed package.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    words = [str(word) for word in command]
    return lambda: subprocess.run(words, capture_output=True, check=True, env=environment)


def paired(name: str, first: Callable[[], object], second: Callable[[], object], rounds: int) -> None:
    """Print the seconds of both and the ratio second / first."""
    first(), second()
    pairs = [(seconds(first), seconds(second)) for _ in range(rounds)]
    ratio = statistics.median(b / a for a, b in pairs)
    a, b = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"{name}: {a:.3f} s, {b:.3f} s, ratio {ratio:.2f} (median of {rounds} pairs)", flush=True)


def startup(folder: Path, bundle: Path) -> None:
    base = process(sys.executable, "-c", "import click, pluggy")
    paired("startup: import click, pluggy | aepipe --help (at most 2.5)", base, process(*AEPIPE, "--help"), 15)


def one_image(folder: Path, bundle: Path) -> None:
    from PIL import Image

    Image.linear_gradient("L").save(folder / "photo.png")
    base = process(sys.executable, "-c", "import numpy, onnxruntime")
    task = [*AEPIPE, "infer", "reconstruct", bundle, folder / "photo.png", "-o", folder / "copy.png"]
    paired("one image: import numpy, onnxruntime | infer reconstruct (at most 1 s)", base, process(*task), 9)


def overlap(folder: Path, bundle: Path, count: int = 4000) -> None:
    """What reading and writing cost beside computing: the session alone, then the whole task on a file."""
    import aepipe
    from aepipe.streams import Input
    from aepipe.tasks import reconstruct

    model = aepipe.load(bundle, "cpu")
    images = np.random.default_rng(0).integers(0, 256, (count, *model.shape), dtype=np.uint8)
    np.save(folder / "images.npy", images)
    batch = images[: model.batch_size].astype(np.float32) / 255

    def alone() -> None:
        for _ in range(count // model.batch_size):
            model.reconstruct_batch(batch)

    def whole() -> None:
        given = Input(str(folder / "images.npy"), model, split=None, limit=None, skip_bad=False)
        reconstruct(model, given, str(folder / "copies.npy"))

    paired(f"overlap: session alone | infer reconstruct .npy to .npy, {count} images", alone, whole, 7)


def memory(folder: Path, bundle: Path, count: int = 1_000_000) -> None:
    """Peak memory of encoding a memory-mapped file of a million images: a sparse file, which reads as zeros."""
    import aepipe

    shape = aepipe.load(bundle, "cpu").shape
    np.lib.format.open_memmap(folder / "million.npy", "w+", np.uint8, (count, *shape)).flush()
    task = ["infer", "encode", "--provider", "cpu", bundle, folder / "million.npy", "-o", folder / "codes.npy"]
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", PEAK, *map(str, task)], stdout=subprocess.PIPE, text=True, check=True)
    took = time.perf_counter() - start
    print(
        f"memory: {count:,} images of {shape}: peak {int(done.stdout) / 1024:.0f} MB (at most 600), {count / took:,.0f} images/s"
    )


PLAIN_LOOP = """
import sys, time, numpy, torch
from aepipe.model import build
images = torch.from_numpy(numpy.load(sys.argv[1]))[:, None].float() / 255
specs = {"encoder": "conv", "decoder": "deconv", "objective": "mse"}
model = build(specs, (1, 28, 28), 8, float(images.mean()), float(images.std()))
optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
for epoch in range(2):
    start = time.perf_counter()
    for batch in torch.randperm(len(images)).split(100):
        loss = model.losses(images[batch], images[batch])["loss"]
        optimiser.zero_grad(); loss.backward(); optimiser.step(); loss.item()
print(len(images) / (time.perf_counter() - start))
"""


def training(folder: Path, bundle: Path, count: int = 10_000) -> None:
    """Images/s of the second epoch of the lecture's networks: a plain PyTorch loop, then aepipe in both precisions."""
    import json

    data = folder / "training.npy"
    np.save(data, np.random.default_rng(0).integers(0, 256, (count, 28, 28), dtype=np.uint8))

    def plain() -> float:
        done = subprocess.run([sys.executable, "-c", PLAIN_LOOP, str(data)], capture_output=True, text=True, check=True)
        return float(done.stdout)

    def ours(precision: str) -> float:
        command = [
            *AEPIPE,
            "train",
            "--data",
            data,
            "--epochs",
            2,
            "--precision",
            precision,
            "--overwrite",
            "-o",
            folder / "t",
        ]
        process(*command)()
        return json.loads((folder / "t" / "metrics.jsonl").read_text().splitlines()[1])["images_per_second"]

    rounds = [(plain(), ours("fp32"), ours("bf16")) for _ in range(3)]
    base, fp32, bf16 = (statistics.median(column) for column in zip(*rounds, strict=True))
    print(
        f"training: plain fp32 loop {base:,.0f}, aepipe fp32 {fp32:,.0f}, aepipe bf16 {bf16:,.0f} images/s", flush=True
    )
    for name, column in (("fp32", 1), ("bf16", 2)):
        ratio = statistics.median(each[column] / each[0] for each in rounds)
        print(f"training: {name} / plain loop: ratio {ratio:.2f} (median of {len(rounds)})", flush=True)


def small_bundle(folder: Path) -> Path:
    """The lecture's networks at d=8 on 28×28; speed does not depend on how well they are trained."""
    import aepipe

    run = aepipe.fit("digits", latent_dim=8, epochs=1, limit=200, out=folder / "run", show=False)
    return Path(run.export(folder / "bundle", show=False))


def main() -> None:
    benchmarks = {each.__name__: each for each in (startup, one_image, overlap, memory, training)}
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(benchmarks))
    parser.add_argument("--bundle", type=Path)
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(benchmarks):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(benchmarks)}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = arguments.bundle or small_bundle(folder)
        for name in arguments.names or benchmarks:
            benchmarks[name](folder, bundle)


if __name__ == "__main__":
    main()
