"""Figures that depend on the machine, so they are measured and printed, not asserted: python -m tests.programs.bench [NAME …]

Where two things are compared they are measured in turns and the ratio of each pair is taken: what else the machine does
then disturbs both alike. --bundle measures your own; else small ones are made, of the lecture's networks. -o FILE writes all
figures as Markdown: `make bench` makes docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tests.programs import bench_jobs, bench_sizes

AEPIPE = [sys.executable, "-m", "aepipe"]
# Name of a bundle to the options of its export: all are compared. Networks that hardly trained may lose anything in int8.
EXPORTS: dict[str, dict[str, object]] = {
    "ordinary": {"lower": "none"},
    "lowered": {"lower": "auto", "precision": ("fp32", "int8"), "max_drop": 1.0},
}
PROVIDERS = ("cpu", "cuda", "openvino", "openvino:precision=bf16")  # those that start here
PEAK = """
import sys
from aepipe.benchmark.child import peak_memory
from aepipe.cli import run
code = run(sys.argv[1:])
print(peak_memory())
sys.exit(code)
"""
PLAIN_LOOP = """
import sys, time, numpy, torch
from aepipe.workshop.training.model import build
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


class Made(NamedTuple):
    """What is measured."""

    folder: Path  # for files
    bundles: list[Path]  # the last is measured where one is enough
    run: Path | None  # that they were exported from


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def process(*command: object) -> Callable[[], object]:
    # Compiled files are written and used, as in an installed package.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    words = [str(word) for word in command]
    return lambda: subprocess.run(words, capture_output=True, check=True, env=environment)


def paired(first: str, second: str, calls: tuple[Callable[[], object], Callable[[], object]], rounds: int) -> str:
    """The seconds of both calls and the ratio second / first."""
    calls[0](), calls[1]()
    pairs = [(seconds(calls[0]), seconds(calls[1])) for _ in range(rounds)]
    ratio = statistics.median(b / a for a, b in pairs)
    a, b = (statistics.median(column) for column in zip(*pairs, strict=True))
    return f"{first} {a:.3f} s, {second} {b:.3f} s, ratio {ratio:.2f} (median of {rounds} pairs)"


def runtimes(made: Made) -> str:
    """The bundles with one another, on every provider that starts here, and with the run in torch."""
    from aepipe.benchmark.compare import compare
    from aepipe.benchmark.report import markdown

    bundles = {bundle.name: bundle for bundle in made.bundles}
    providers = [each for each in PROVIDERS if starts(each, made.bundles[-1])]
    found = compare(bundles, providers, run=made.run)
    title, command = "Every runtime, precision and batch size", "python -m tests.programs.bench runtimes"
    return summary(found.rows) + "\n" + markdown(title, command, found.rows, found.left_out)


def starts(spec: str, bundle: Path) -> bool:
    """Whether a provider is installed and runs on this machine."""
    from aepipe import AepipeError, load

    try:
        with load(bundle, spec) as model:
            model.start("encoder")
        return True
    except AepipeError:
        return False


def summary(rows: list[dict[str, Any]], batch: int = 64) -> str:
    """Images/s by task at one batch size, and by those of the first line."""
    from aepipe.benchmark.report import table

    tasks = ("encode", "decode", "reconstruct")
    found = {
        (row["bundle"], row["provider"], row["precision"], row["task"]): row for row in rows if row["batch"] == batch
    }
    lines = []
    for candidate in dict.fromkeys(key[:3] for key in found):
        cells = [found[*candidate, task] for task in tasks]
        lines.append([*candidate, *(f"{each['images_per_second']:,.0f} ({each['ratio']:.2f})" for each in cells)])
    head = f"## Images/s at batch {batch}\n\nIn brackets: by those of the first line, the median over rounds.\n\n"
    return head + table(["bundle", "runtime", "precision", *tasks], lines, left=3) + "\n"


def startup(made: Made) -> str:
    calls = process(sys.executable, "-c", "import click, pluggy"), process(*AEPIPE, "--help")
    return f"{paired('`import click, pluggy`', '`aepipe --help`', calls, 15)}; at most 2.5"


def one_image(made: Made) -> str:
    from PIL import Image

    Image.linear_gradient("L").save(made.folder / "photo.png")
    base = process(sys.executable, "-c", "import numpy, onnxruntime")
    files = made.folder / "photo.png", "-o", made.folder / "copy.png"
    task = process(*AEPIPE, "infer", "reconstruct", made.bundles[-1], *files)
    names = "`import numpy, onnxruntime`", "`aepipe infer reconstruct` of one PNG file"
    return f"{paired(*names, (base, task), 9)}; at most 1 s"


def jobs(made: Made) -> str:
    """Whole jobs, from files to files, beside computing alone."""
    return "; ".join(bench_jobs.throughput(made.folder, made.bundles[-1]))


def tiff_folders(made: Made) -> str:
    """Encoding folders of 16-bit TIFF files, beside reading and computing alone."""
    if not find_spec("aepipe_science"):
        return "left out: pip install aepipe-science"
    return "; ".join(bench_jobs.tiff_folders(made.folder))


def open_sides(made: Made) -> str:
    """A decoder whose sides vary beside one of fixed sides."""
    return "; ".join(bench_sizes.open_sides(made.folder))


def memory(made: Made, count: int = 1_000_000) -> str:
    """Peak memory of encoding a memory-mapped file of a million images: a sparse file, which reads as zeros."""
    import aepipe

    shape = aepipe.load(made.bundles[-1], "cpu").shape
    images, codes = made.folder / "million.npy", made.folder / "codes.npy"
    np.lib.format.open_memmap(images, "w+", np.uint8, (count, *shape)).flush()
    task = ["infer", "encode", "--provider", "cpu", made.bundles[-1], images, "-o", codes]
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", PEAK, *map(str, task)], stdout=subprocess.PIPE, text=True, check=True)
    rate = count / (time.perf_counter() - start)
    what = f"`infer encode` of {count:,} images of {'×'.join(map(str, shape))}"
    return f"{what}: peak {float(done.stdout):.0f} MB (at most 600), {rate:,.0f} images/s"


def training(made: Made, count: int = 2500) -> str:
    """Images/s of the second epoch of the lecture's networks: a plain PyTorch loop, then aepipe in both precisions."""
    data, out = made.folder / "training.npy", made.folder / "trained"
    np.save(data, np.random.default_rng(0).integers(0, 256, (count, 28, 28), dtype=np.uint8))

    def plain() -> float:
        done = subprocess.run([sys.executable, "-c", PLAIN_LOOP, str(data)], capture_output=True, text=True, check=True)
        return float(done.stdout)

    def ours(precision: str) -> float:
        options = "--epochs", 2, "--precision", precision, "--overwrite", "-o", out
        process(*AEPIPE, "train", "--data", data, *options)()
        return json.loads((out / "metrics.jsonl").read_text().splitlines()[1])["images_per_second"]

    rounds = [(plain(), ours("fp32"), ours("bf16")) for _ in range(3)]
    base, fp32, bf16 = (statistics.median(column) for column in zip(*rounds, strict=True))
    ratios = [statistics.median(each[column] / each[0] for each in rounds) for column in (1, 2)]
    return (
        f"a plain PyTorch loop in fp32 {base:,.0f} images/s, `aepipe train` in fp32 {fp32:,.0f} (ratio {ratios[0]:.2f}), "
        f"in bf16 {bf16:,.0f} (ratio {ratios[1]:.2f}; medians of {len(rounds)})"
    )


def small_bundles(folder: Path) -> Made:
    """The lecture's networks at d=8 on 28×28; speed does not depend on how well they are trained."""
    import aepipe

    run = aepipe.fit("digits", latent_dim=8, epochs=1, limit=200, out=folder / "run", show=False)
    bundles = [run.export(folder / name, show=False, **options) for name, options in EXPORTS.items()]
    return Made(folder, bundles, run.directory)


def page(figures: dict[str, str]) -> str:
    """All figures as Markdown."""
    tables = figures.pop("runtimes")
    lines = "\n".join(f"- {name.replace('_', ' ')}: {text}" for name, text in figures.items())
    head = "# Benchmarks\n\nOf the lecture's networks at d = 8 on 28×28 images, in one run of `make bench`."
    return f"{head}\n\n{tables}\n## The program around the graphs\n\nSame machine, same day.\n\n{lines}\n"


def main() -> None:
    benchmarks = {
        each.__name__: each for each in (runtimes, startup, one_image, jobs, tiff_folders, open_sides, memory, training)
    }
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(benchmarks))
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("-o", "--out", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(benchmarks):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(benchmarks)}")
    if arguments.out and (arguments.names or arguments.bundle):
        parser.error("-o writes all figures of the small bundles: no NAME and no --bundle with it")
    figures = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = Made(folder, [arguments.bundle.resolve()], None) if arguments.bundle else small_bundles(folder)
        for name in arguments.names or benchmarks:
            figures[name] = benchmarks[name](made)
            print(f"{name}: {figures[name]}", flush=True)
    if arguments.out:
        arguments.out.write_text(page(figures), encoding="utf-8")


if __name__ == "__main__":
    main()
