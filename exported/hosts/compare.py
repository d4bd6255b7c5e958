"""Compares the host programs with aepipe's own runtime, lets each of them check itself, and measures one decode in each.

    python exported/hosts/compare.py [BUNDLE] [--write]

prints a table. With --write the table is also put into exported/README.md, if every host could be tried. BUNDLE is
exported/mnist-d8 by default. The hosts check themselves by the test vectors of BUNDLE, or where it has none of those in
tests/fixtures. If the tools of a host are not here, its line says why.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path

import aepipe
import numpy as np
from aepipe.benchmark.report import machine
from aepipe.bundle.reader import Bundle
from aepipe.space import times
from programs import HERE, HOSTS, Host, Unavailable

BUNDLE, TABLE = HERE.parent / "mnist-d8", HERE.parent / "README.md"
BEGIN, END = "<!-- made by compare.py: begin -->\n", "<!-- end -->"
VECTORS = sorted((HERE.parents[1] / "tests/fixtures").glob("format-2-*/bundle"))
SOURCES = {  # the file that runs graphs and tasks, and those that read files, prepare and check
    "python": (["host.py"], ["check.py"]),
    "openvino": (["host.py"], ["check.py"]),
    "node": (["host.js"], ["bundle.js"]),
    "web": (["index.html", "host.js"], ["bundle.js"]),
    "cpp": (["host.cpp"], ["arrays.h", "manifest.h", "picture.h"]),
}


def examples(bundle: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For each task an input and what aepipe's runtime on the CPU makes of it; the images are samples."""
    with aepipe.load(bundle, provider="cpu", threads=1) as model:
        density = model.bundle.density_name(None)
        images = model.sample(7, seed=1)
        codes = model.encode(images)
        noise = np.random.default_rng(0).standard_normal((5, model.bundle.noise_features(density)), dtype=np.float32)
        return {
            "encode": (images, codes),
            "decode": (codes, model.decode(codes)),
            "reconstruct": (images, model.reconstruct(images)),
            "interpolate": (images[:2], model.interpolate(images[:1], images[1:2])[0]),
            "sample": (noise, model.decode(model.from_noise(noise, density))),
            "score": (images, np.stack([*model.score(images, density).values()], 1)),
        }


def call(host: Host, bundle: Path, task: str, values: np.ndarray, folder: Path) -> np.ndarray:
    """What a host makes of an array; raises Failed if it refuses."""
    source, target = folder / "in.npy", folder / "out.npy"
    np.save(source, values)
    target.unlink(missing_ok=True)
    host.run(bundle, task, source, target)
    return np.load(target)


def difference(task: str, ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference: for images the absolute one, for codes and scores a divided by max(1, |a|)."""
    if (ours.shape, ours.dtype) != (theirs.shape, theirs.dtype):
        raise ValueError(f"{task} gave {theirs.dtype} {theirs.shape}, not {ours.dtype} {ours.shape}")
    scale = np.maximum(1, np.abs(ours)) if task in ("encode", "score") else 1
    apart = np.where(np.isnan(ours) & np.isnan(theirs), 0, np.abs(ours - theirs) / scale)
    return float(apart.max())


def lines_of(name: str) -> str:
    """The number of lines of a host and, after a plus sign, of what reads, prepares and checks."""
    host, beside = (
        sum(len((HERE / name / each).read_text(encoding="utf-8").splitlines()) for each in files)
        for files in SOURCES[name]
    )
    return f"{host} + {beside}"


def checked(host: Host, bundle: Path, folder: Path) -> str:
    """The largest difference from the test vectors of the bundle, or of the kept bundles where it has none."""
    bundles = [bundle] if (bundle / "vectors").is_dir() else VECTORS
    lines = [line for each in bundles for line in host.check(each, folder / "check.txt").splitlines()]
    return f"{max(float(line.rpartition(': ')[2]) for line in lines):.1e}" if lines else "no vectors"


def row(name: str, bundle: Path, folder: Path) -> str:
    """Try one host and make its line of the table."""
    lines = lines_of(name)
    try:
        host = HOSTS[name](folder)
    except Unavailable as reason:
        return f"| {name} | {lines} | not tried: {reason} | | | | |"
    with contextlib.closing(host):
        tasks = examples(bundle)
        found = {
            task: difference(task, out, call(host, bundle, task, values, folder))
            for task, (values, out) in tasks.items()
        }
        times = np.sort(call(host, bundle, "time", tasks["decode"][0][:1], folder))
        check = checked(host, bundle, folder)
    codes, middle = max(found.pop("encode"), found.pop("score")), times[len(times) // 4 : -len(times) // 4].mean()
    figures = f"{max(found.values()):.1e} | {codes:.1e} | {check} | {middle:.2f} ms"
    return f"| [{name}](hosts/{name}) | {lines} | {host.versions} | {figures} |"


def table(bundle: Path) -> str:
    """Try all hosts and make the table, as Markdown."""
    lines = ["| host | lines | versions tried | images | codes | check | one decode |", "|---|---|---|---|---|---|---|"]
    for name in HOSTS:
        with tempfile.TemporaryDirectory() as folder:
            lines.append(row(name, bundle, Path(folder)))
    manifest, facts = Bundle(bundle), machine()
    what = f"the bundle {manifest.name} ({times(manifest.shape)}, {manifest.latent} numbers)"
    return "\n".join([*lines, "", f"Measured with {what} on {facts['cores']} cores of {facts['cpu']}."]) + "\n"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", nargs="?", type=Path, default=BUNDLE, metavar="BUNDLE")
    parser.add_argument("--write", action="store_true", help="put the table into exported/README.md")
    given = parser.parse_args(arguments)
    try:
        made = table(given.bundle.resolve())
    except aepipe.AepipeError as error:
        sys.exit(f"{error.message}; {error.hint}")
    print(made, end="")
    if given.write:
        if "not tried" in made:
            sys.exit(f"{TABLE} stays as it is: not every host could be tried")
        before, _, rest = TABLE.read_text(encoding="utf-8").partition(BEGIN)
        TABLE.write_text(f"{before}{BEGIN}{made}{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
