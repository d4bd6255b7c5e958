"""How far the host programs are from aepipe's own runtime: python exported/hosts/compare.py BUNDLE prints a table.

A host whose tools are not here is listed with the reason. Headers for C++ are looked for on the compiler's path (CPATH too).
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import aepipe
import numpy as np

HERE = Path(__file__).resolve().parent
SOURCES = {"python": ["host.py"], "node": ["host.js"], "cpp": ["host.cpp", "json.h", "npy.h"]}


class Host(NamedTuple):
    command: list[str]  # before BUNDLE TASK IN OUT
    versions: str


class Unavailable(Exception):
    """A host's tools are not here; says which."""


def python(folder: Path) -> Host:
    import onnxruntime

    versions = f"Python {sys.version.split()[0]}, onnxruntime {onnxruntime.__version__}"
    return Host([sys.executable, str(HERE / "python/host.py")], versions)


def node(folder: Path) -> Host:
    """onnxruntime-node from beside the host, or installed into `folder`."""
    found, npm = shutil.which("node"), shutil.which("npm")
    home = HERE / "node"
    if not found or not npm:
        raise Unavailable("there is no node, or no npm")
    if not (home / "node_modules/onnxruntime-node").is_dir():
        shutil.copy(home / "host.js", folder)
        shutil.copy(home / "package.json", folder)
        quick = ["--no-audit", "--no-fund", "--prefer-offline", "--fetch-retries=0", "--fetch-timeout=20000"]
        _tool([npm, "install", "--ignore-scripts", *quick], folder, "onnxruntime-node cannot be installed")
        home = folder
    wanted = re.search(r'"onnxruntime-node": "(.+)"', (home / "package.json").read_text())
    version = _tool([found, "--version"], folder, "node does not start").strip()
    return Host([found, str(home / "host.js")], f"Node {version}, onnxruntime-node {wanted and wanted[1]}")


def cpp(folder: Path) -> Host:
    """Compiled into `folder`, against the library in Python's onnxruntime."""
    compiler = shutil.which("g++")
    if not compiler:
        raise Unavailable("there is no g++")
    include = ["-idirafter", "/usr/include/onnxruntime", "-idirafter", "/usr/local/include/onnxruntime"]
    probe = folder / "probe.cpp"
    probe.write_text("#include <onnxruntime_c_api.h>\nORT_API_VERSION\n")
    seen = _tool([compiler, *include, "-E", "-P", str(probe)], folder, "g++ finds no headers of ONNX Runtime")
    spec = importlib.util.find_spec("onnxruntime")
    found = sorted(Path(spec.origin).parent.glob("capi/libonnxruntime.so.*")) if spec and spec.origin else []
    if not found:
        raise Unavailable("Python's onnxruntime has no libonnxruntime.so")
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(found[-1])
    link = [f"-L{folder}", "-lonnxruntime", f"-Wl,-rpath,{folder}"]
    build = [
        compiler,
        "-std=c++17",
        "-Wall",
        "-Wextra",
        *include,
        str(HERE / "cpp/host.cpp"),
        "-o",
        str(folder / "host"),
    ]
    _tool([*build, *link], folder, "")
    version = _tool([compiler, "-dumpfullversion"], folder, "g++ does not start").strip()
    library = found[-1].name.removeprefix("libonnxruntime.so.")
    return Host([str(folder / "host")], f"g++ {version}, ONNX Runtime {library}, headers 1.{seen.split()[-1]}")


HOSTS: dict[str, Callable[[Path], Host]] = {"python": python, "node": node, "cpp": cpp}


def _tool(command: list[str], folder: Path, otherwise: str) -> str:
    """What a tool prints; raises Unavailable(otherwise) if it fails, or RuntimeError if that must not happen."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=90)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{Path(command[0]).name} takes too long") from None
    if done.returncode and otherwise:
        raise Unavailable(otherwise)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout


def examples(bundle: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For each task what goes in and what aepipe's runtime makes of it, on the CPU; the images are samples."""
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
        }


def call(host: Host, bundle: Path, task: str, values: np.ndarray, folder: Path) -> np.ndarray:
    """What a host makes of an array; raises CalledProcessError where it fails."""
    source, target = folder / "in.npy", folder / "out.npy"
    np.save(source, values)
    target.unlink(missing_ok=True)
    command = [*host.command, str(bundle), task, str(source), str(target)]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    return np.load(target)


def difference(task: str, ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference: of images absolute, of codes a by max(1, |a|)."""
    if (ours.shape, ours.dtype) != (theirs.shape, theirs.dtype):
        raise ValueError(f"{task} gave {theirs.dtype} {theirs.shape}, not {ours.dtype} {ours.shape}")
    scale = np.maximum(1, np.abs(ours)) if task == "encode" else 1
    return float((np.abs(ours - theirs) / scale).max())


def row(name: str, bundle: Path, folder: Path) -> str:
    lines = sum(len((HERE / name / source).read_text().splitlines()) for source in SOURCES[name])
    try:
        host = HOSTS[name](folder)
    except Unavailable as reason:
        return f"| {name} | {lines} | not tried: {reason} | | |"
    found = {
        task: difference(task, out, call(host, bundle, task, values, folder))
        for task, (values, out) in examples(bundle).items()
    }
    codes = found.pop("encode")
    return f"| [{name}](hosts/{name}) | {lines} | {host.versions} | {max(found.values()):.1e} | {codes:.1e} |"


def main(bundle: str) -> None:
    print("| host | lines | versions tried | images | codes |\n|---|---|---|---|---|")
    for name in HOSTS:
        with tempfile.TemporaryDirectory() as folder:
            print(row(name, Path(bundle).resolve(), Path(folder)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1]) if len(sys.argv) == 2 else sys.exit(__doc__)
