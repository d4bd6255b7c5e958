"""Bundles and time: what was written earlier means the same, and what is written now runs on the oldest ONNX Runtime named."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from aepipe.bundle.manifest import MINIMUM_ONNXRUNTIME

from tests.helpers.places import HOSTS, KEPT
from tests.programs.make_fixture import outputs

HOST = HOSTS / "python/host.py"

EVERY_GRAPH = """
import json, pathlib, sys
import numpy as np, onnxruntime
bundle = pathlib.Path(sys.argv[1])
steps = {"d": 2, "h": 2, "w": 3}

def sizes(shape):  # sides that are open, such as 4*h, are two and three steps long
    return [each if isinstance(each, int) else eval(each, steps) for each in shape]

for graph in json.loads((bundle / "manifest.json").read_text())["graphs"]:
    session = onnxruntime.InferenceSession(str(bundle / graph["file"]), providers=["CPUExecutionProvider"])
    given = {name: np.zeros([3, *sizes(each["shape"][1:])], each["dtype"]) for name, each in graph["inputs"].items()}
    for name, made in zip(graph["outputs"], session.run(list(graph["outputs"]), given)):
        fits = list(made.shape) == [3, *sizes(graph["outputs"][name]["shape"][1:])]
        assert fits or graph["role"] == "generate", (graph["file"], made.shape)  # of the density's size where sides are open
    print(graph["file"], onnxruntime.__version__)
"""


@pytest.mark.parametrize("kept", KEPT, ids=lambda path: path.name)
def test_a_bundle_that_was_written_earlier_still_means_the_same(kept):
    with np.load(kept / "expected.npz") as arrays:
        expected = dict(arrays)
    given = {name: values for name, values in expected.items() if name.startswith("given ")}
    made = outputs(kept / "bundle", given)
    assert given and made.keys() == expected.keys() - given.keys()
    for name, values in made.items():
        before = expected[name]
        assert (values.shape, values.dtype) == (before.shape, before.dtype), name
        scale = np.maximum(1, np.abs(before))
        if name == "reconstruct int8":  # processors without VNNI round otherwise
            assert np.abs(values - before).mean() < 0.02
        elif values.dtype == np.uint8:
            assert np.abs(values.astype(int) - before).max() <= 1, name
        elif name.startswith(("encode", "codes", "log_density", "inverse")) or name.endswith(" latent"):
            assert (np.abs(values - before) <= 1e-4 * scale).all(), name
        else:
            assert (np.abs(values - before) <= 1e-5 * scale).all(), name


@pytest.mark.parametrize("kept", KEPT, ids=lambda path: path.name)
def test_the_commands_take_it(kept, call, tmp_path):
    found = call("inspect", kept / "bundle", "--json")
    manifest = json.loads((kept / "bundle/manifest.json").read_text())
    assert found.code == 0 and json.loads(found.out)["name"] == manifest["name"]
    assert ", ".join(manifest["densities"]) in call("inspect", kept / "bundle").out
    images = np.load(kept / "expected.npz")["given images"]
    np.save(tmp_path / "images.npy", images)
    more = ["--clip"] if (manifest.get("data", {}).get("raw") or {}).get("range") else []
    done = call("infer", "reconstruct", kept / "bundle", tmp_path / "images.npy", "-o", tmp_path / "out.npy", *more)
    assert done.code == 0 and np.load(tmp_path / "out.npy").shape == images.shape, done.err


def test_kept_bundles_are_small_and_whole():
    assert KEPT
    for kept in KEPT:
        files = [path for path in kept.rglob("*") if path.is_file()]
        assert sum(path.stat().st_size for path in files) < 250_000
        assert {"README.md", "expected.npz"} <= {path.name for path in kept.iterdir()}


@pytest.fixture(scope="module")
def oldest(tmp_path_factory) -> str:
    """A Python with the oldest ONNX Runtime that the manifest names and NumPy, or skip."""
    folder = tmp_path_factory.mktemp("oldest")
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    wanted = [f"onnxruntime=={MINIMUM_ONNXRUNTIME}", "numpy<2"]  # it was built for that NumPy
    options = ["--quiet", "--no-deps", "--only-binary=:all:", "--retries=0", "--timeout=15"]
    try:
        command = [sys.executable, "-m", "pip", "--python", python, "install", *options, *wanted]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        pytest.skip("pip takes too long")
    if done.returncode:
        reasons = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["pip fails"]
        pytest.skip(f"onnxruntime {MINIMUM_ONNXRUNTIME} cannot be installed here: {reasons[-1]}")
    return str(python)


@pytest.mark.slow
def test_the_oldest_onnxruntime_runs_every_graph(oldest, kept_or_new):
    done = subprocess.run([oldest, "-c", EVERY_GRAPH, kept_or_new], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    graphs = json.loads((kept_or_new / "manifest.json").read_text())["graphs"]
    assert done.stdout.splitlines() == [f"{graph['file']} {MINIMUM_ONNXRUNTIME}" for graph in graphs]


@pytest.mark.slow
@pytest.mark.skipif(not HOST.exists(), reason="the hosts are not in this copy")
def test_the_oldest_onnxruntime_computes_the_same(oldest, tmp_path):
    with np.load(KEPT[0] / "expected.npz") as expected:
        cases = {
            "encode": (expected["given images"], expected["encode"]),
            "decode": (expected["encode"][:1], expected["decode"]),
            "reconstruct": (expected["given images"], expected["reconstruct"]),
            "interpolate": (expected["given images"][:2], expected["interpolate"][0]),
            "sample": (expected["given noise gaussian"], expected["samples gaussian"]),
        }
    for task, (values, before) in cases.items():
        np.save(tmp_path / "in.npy", values)
        command = [oldest, HOST, KEPT[0] / "bundle", task, tmp_path / "in.npy", tmp_path / "out.npy"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, (task, done.stderr)
        made = np.load(tmp_path / "out.npy")
        if task == "interpolate":  # the host makes 12 images, whose ends are the same
            made, before = made[[0, -1]], before[[0, -1]]
        np.testing.assert_allclose(made, before, rtol=1e-4 if task == "encode" else 0, atol=1e-5, err_msg=task)


@pytest.fixture(params=["kept", "new", *(each.name for each in KEPT[1:])])
def kept_or_new(request) -> Path:
    """A bundle that an earlier aepipe wrote, and one of this one."""
    if request.param == "new":
        return request.getfixturevalue("digits_bundle")
    return (KEPT[0] if request.param == "kept" else KEPT[0].with_name(request.param)) / "bundle"
