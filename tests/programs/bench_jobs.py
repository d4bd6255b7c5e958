"""What a whole job costs beside computing: python -m tests.programs.bench_jobs [--full] [--bundle BUNDLE] [--batch-size N]

Two jobs, each as images/s over the images/s of what bounds it: `infer reconstruct` of a memory-mapped uint8 .npy to .npy
over the bundle's graphs alone at the same batch size; `infer encode` of a folder of PNG files to .npy over the slower of
the encoder alone and decoding those files alone. Where aepipe-science is installed, `infer encode` of a folder of 16-bit
TIFF files too, beside tifffile alone, by an encoder that takes less time than reading and by one that takes more. Every
measurement is a process of its own and counts from the moment its model is loaded, for some seconds; the sides of a ratio
are measured in turns, so that what else the machine does disturbs them alike. The last lines answer whether another batch
size would be faster, and measure the TIFF files. --full takes 1,000,000 images and 20,000
files, all of them in every round.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np

SECONDS = 2.0  # for a side that can be cut short: graphs alone, decoding alone


def rate(step: Callable[[], int]) -> float:
    """Images/s of calling `step`, which returns how many images it did, again and again."""
    step()
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < SECONDS:
        count += step()
    return count / (time.perf_counter() - start)


def graphs(task: str, bundle: str, batch_size: int, data: Path, limit: int) -> float:
    import aepipe

    model = aepipe.load(bundle, "cpu", batch_size=batch_size)
    batch = np.random.default_rng(0).random((batch_size, *model.shape), dtype=np.float32)
    compute = model.encode_batch if task == "encode" else model.reconstruct_batch
    return rate(lambda: len(compute(batch)))


def decoding(task: str, bundle: str, batch_size: int, data: Path, limit: int) -> float:
    """Pillow alone, in as many threads as there are cores: open, decode, to an array."""
    from PIL import Image

    return in_threads(sorted(data.rglob("*.png")), lambda path: np.asarray(Image.open(path)))


def tifffile(task: str, bundle: str, batch_size: int, data: Path, limit: int) -> float:
    """tifffile alone, in as many threads as there are cores."""
    from tifffile import imread

    return in_threads(sorted(data.rglob("*.tif")), imread)


def in_threads(files: list[Path], read: Callable[[Path], object]) -> float:
    """Files/s of reading them in as many threads as there are cores."""
    import os
    from concurrent.futures import ThreadPoolExecutor

    def decode(part: list[Path]) -> None:
        for path in part:
            read(path)

    threads = os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool:

        def step() -> int:
            list(pool.map(decode, [files[k::threads] for k in range(threads)]))
            return len(files)

        return rate(step)


OPTIONS = {
    "reconstruct": {"tile": False, "overlap": None},
    "encode": {"code_dtype": "float32"},
}  # what a task needs beside its input


def job(task: str, bundle: str, batch_size: int, data: Path, limit: int) -> float:
    """The whole task on the first images, to a file beside the data."""
    import aepipe
    from aepipe.images.data import open_images
    from aepipe.infer import tasks
    from aepipe.infer.streams import Reading

    model = aepipe.load(bundle, "cpu", batch_size=batch_size)
    model.start("encoder", "decoder")
    count = len(open_images(str(data), shape=model.shape, limit=limit, raw=model.raw))
    start = time.perf_counter()
    getattr(tasks, task)(
        model, Reading(limit=limit), str(data.with_name("out.npy")), input=str(data), **OPTIONS.get(task, {})
    )
    return count / (time.perf_counter() - start)


SIDES = {each.__name__: each for each in (graphs, decoding, tifffile, job)}


def measure(side: str, task: str, bundle: Path, batch_size: int, data: Path, limit: int = 1) -> float:
    words = [sys.executable, __file__, "--one", side, task, bundle, batch_size, data, limit]
    done = subprocess.run([str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return float(done.stdout)


def ratio(
    what: str,
    task: str,
    bounds: list[str],
    bundle: Path,
    batch_size: int,
    data: Path,
    count: int,
    full: bool = False,
    least: float = 0.85,
) -> str:
    """The median over the rounds of the job's images/s by that of its slowest bound."""
    rows = []
    for _ in range(3 if full else 7):
        row = {side: measure(side, task, bundle, batch_size, data) for side in bounds}
        limit = count if full else min(count, int(SECONDS * min(row.values())))
        rows.append({**row, "job": measure("job", task, bundle, batch_size, data, limit)})
    text = ", ".join(f"{side} alone {statistics.median(row[side] for row in rows):,.0f}" for side in bounds)
    own = statistics.median(row["job"] for row in rows)
    shares = [row["job"] / min(row[side] for side in bounds) for row in rows]
    spread = f"median of {len(rows)}, {min(shares):.2f} to {max(shares):.2f}"
    line = (
        f"{what}: {text}, job {own:,.0f} images/s, ratio {statistics.median(shares):.2f} ({spread}; at least {least})"
    )
    if len(bounds) > 1:  # both want all cores: no job can be faster than the sum of their times allows
        together = [row["job"] * sum(1 / row[side] for side in bounds) for row in rows]
        line += f", {statistics.median(together):.2f} of what {' and '.join(bounds)} reach on the same cores"
    return line


def throughput(folder: Path, bundle: Path, *, batch_size: int = 64, full: bool = False) -> Iterator[str]:
    """Both jobs."""
    shape = shape_of(bundle)
    images, files = (1_000_000, 20_000) if full else (20_000, 3_000)
    array, pngs = make_array(folder / "images.npy", shape, images), make_folder(folder / "png", shape, files)
    named = f"`infer reconstruct` of {images:,} images, .npy to .npy", f"`infer encode` of {files:,} PNG files"
    yield ratio(named[0], "reconstruct", ["graphs"], bundle, batch_size, array, images, full)
    yield ratio(named[1], "encode", ["graphs", "decoding"], bundle, batch_size, pngs, files, full)


def tiff_folders(folder: Path, *, batch_size: int = 64, count: int = 2000) -> Iterator[str]:
    """`infer encode` of 16-bit TIFF files; one line for each encoder."""
    import aepipe

    rng = np.random.default_rng(0)
    files = folder / "tif"
    for k in range(count):
        path = files / f"{k // 1000:03d}" / f"{k:06d}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_tiff(path, rng.integers(0, 4096, (256, 256), dtype=np.uint16))
    few = rng.integers(0, 4096, (40, 256, 256), dtype=np.uint16)
    for encoder, decoder in (("pca", "pca"), ("conv:channels=4", "deconv:channels=4")):
        name = encoder.partition(":")[0]
        options = {"encoder": encoder, "decoder": decoder, "latent_dim": 16, "epochs": 1, "densities": ()}
        run = aepipe.fit(few, range="0..4095", out=folder / f"run-{name}", show=False, **options)
        bundle = Path(run.export(folder / f"bundle-{name}", show=False))
        what = f"`infer encode` of {count:,} 16-bit TIFF files of 256×256 by `{encoder}`"
        yield ratio(what, "encode", ["graphs", "tifffile"], bundle, batch_size, files, count, least=0.9)


def write_tiff(path: Path, image: np.ndarray) -> None:
    from tifffile import imwrite

    imwrite(path, image)


def batch_sizes(bundle: Path, data: Path, rounds: int, sizes: tuple[int, ...] = (32, 64, 128, 256)) -> None:
    """Images/s of the graphs alone by batch size, by that of 64."""
    rows = [{size: measure("graphs", "reconstruct", bundle, size, data) for size in sizes} for _ in range(rounds)]
    shares = {size: statistics.median(row[size] / row[64] for row in rows) for size in sizes}
    print("batch size, by 64:", ", ".join(f"{size}: {share:.2f}" for size, share in shares.items()), flush=True)


def make_array(path: Path, shape: tuple[int, ...], count: int) -> Path:
    """Blocks of noise, written a thousand images at a time."""
    array = np.lib.format.open_memmap(path, "w+", np.uint8, (count, *shape))
    noise = np.random.default_rng(0).integers(0, 256, (1000, *shape), dtype=np.uint8)
    for start in range(0, count, 1000):
        array[start : start + 1000] = noise[: count - start]
    array.flush()
    return path


def make_folder(folder: Path, shape: tuple[int, ...], count: int) -> Path:
    """PNG files in sub-folders of a thousand: the digits, enlarged and shifted, grey or RGB."""
    from aepipe.images.data import open_images
    from PIL import Image

    digits = open_images("digits", split="train").read(np.arange(1000))[:, 0]
    for k in range(count):
        path = folder / f"{k // 1000:03d}" / f"{k:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(np.roll(digits[k % 1000], k // 1000, axis=1)).resize(shape[:0:-1])
        image.convert("L" if shape[0] == 1 else "RGB").save(path)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--full", action="store_true", help="1,000,000 images and 20,000 files")
    parser.add_argument("--bundle", type=Path, help="yours; else the default networks, hardly trained")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--one", nargs=6, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        side, task, bundle, batch_size, data, limit = arguments.one
        print(SIDES[side](task, bundle, int(batch_size), Path(data), int(limit)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = arguments.bundle or small_bundle(folder)
        for line in throughput(folder, bundle, batch_size=arguments.batch_size, full=arguments.full):
            print(line, flush=True)
        batch_sizes(bundle, folder / "images.npy", 3)
        if find_spec("aepipe_science"):
            for line in tiff_folders(folder, batch_size=arguments.batch_size):
                print(line, flush=True)


def small_bundle(folder: Path) -> Path:
    """The lecture's networks at d=8 on 28×28; speed does not depend on how well they are trained."""
    import aepipe

    run = aepipe.fit("digits", latent_dim=8, epochs=1, limit=200, out=folder / "run", show=False)
    return Path(run.export(folder / "bundle", show=False))


def shape_of(bundle: Path) -> tuple[int, ...]:
    import json

    return tuple(json.loads((bundle / "manifest.json").read_text())["image"]["shape"])


if __name__ == "__main__":
    main()
