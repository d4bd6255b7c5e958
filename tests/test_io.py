"""Graphs for images as bytes and for whole tasks: export --io uint8."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import aepipe
import numpy as np
import onnx
import onnxruntime
import pytest
from aepipe.bundle.reader import Bundle
from aepipe.errors import BadInput, ParityError
from aepipe.workshop.run import Run
from exporting import SMALL, contents, manifest_of
from torch import nn

MADE = {"reconstruct.onnx", "interpolate.onnx", "generate/gaussian.onnx", "generate/pca.onnx"}
BYTES = {"encoder.uint8.onnx", "decoder.uint8.onnx"}


@pytest.fixture(scope="module")
def colour_run(tmp_path_factory) -> Run:
    """Colour images, taller than wide."""
    blobs = np.random.default_rng(0).random((80, 3, 5, 4)).repeat(2, axis=2).repeat(2, axis=3)
    return aepipe.fit((255 * blobs).astype(np.uint8), out=tmp_path_factory.mktemp("runs") / "colour", **SMALL)


@pytest.fixture(scope="module")
def colour(colour_run: Run, tmp_path_factory) -> Path:
    return colour_run.export(tmp_path_factory.mktemp("exported") / "colour", io="uint8", show=False)


@pytest.fixture(scope="module")
def digits(digits_run: Run, tmp_path_factory) -> Path:
    return digits_run.export(tmp_path_factory.mktemp("exported") / "digits", io=("uint8",), show=False)


@pytest.fixture(params=["digits", "colour"])
def bundle(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)


def run(path: Path, **inputs: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (output,) = session.run(None, inputs)
    return output


def some_bytes(bundle: Path, count: int) -> np.ndarray:
    c, h, w = Bundle(bundle).shape
    return np.random.default_rng(1).integers(0, 256, (count, h, w, c), dtype=np.uint8)


def as_floats(pixels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)) / np.float32(255)


# What a bundle holds


def test_the_command_adds_them(call, colour_run: Run, colour: Path, tmp_path):
    done = call("export", colour_run.directory, "-o", tmp_path / "x", "--io", "float, uint8")
    assert done.code == 0 and "adding 6 graphs for bytes and whole tasks" in done.err
    plain = colour_run.export(tmp_path / "plain", show=False)
    assert set(contents(tmp_path / "x")) == set(contents(plain)) | MADE | BYTES == set(contents(colour))


def test_the_manifest_describes_them(bundle: Path):
    m = manifest_of(bundle)
    c, h, w = m["image"]["shape"]
    files = [graph["file"] for graph in m["graphs"]]
    assert files[:2] == ["encoder.onnx", "decoder.onnx"] and set(files[-2:]) == BYTES and set(files[8:-2]) == MADE
    found = {graph["file"]: graph for graph in m["graphs"]}
    image = {"dtype": "float32", "layout": "NCHW", "shape": ["batch", c, h, w]}
    pixels = {"dtype": "uint8", "layout": "NHWC", "shape": ["batch", h, w, c]}
    latent = {"dtype": "float32", "shape": ["batch", m["latent"]]}
    encoder, decoder = found["encoder.uint8.onnx"], found["decoder.uint8.onnx"]
    assert {each: encoder[each] for each in ("role", "precision", "io", "lowered")} == {
        "role": "encoder",
        "precision": "fp32",
        "io": "uint8",
        "lowered": True,
    }
    assert (encoder["inputs"], encoder["outputs"]) == ({"image": pixels}, {"latent": latent})
    assert (decoder["inputs"], decoder["outputs"]) == ({"latent": latent}, {"image": pixels})
    whole = found["reconstruct.onnx"]
    assert (whole["inputs"], whole["outputs"]) == ({"image": image}, {"reconstruction": image})
    between = found["interpolate.onnx"]
    assert between["outputs"] == {"image": image} and between["inputs"]["alpha"]["shape"] == ["batch"]
    assert [between["inputs"][f"image_{each}"]["shape"] for each in "ab"] == [
        [f"batch_{each}", c, h, w] for each in "ab"
    ]
    assert found["generate/pca.onnx"]["role"] == "generate" and found["generate/pca.onnx"]["density"] == "pca"
    assert {found[file]["io"] for file in MADE} == {"float"} and {found[file]["precision"] for file in MADE} == {"fp32"}
    parity = {"reconstruct", "interpolate", "gaussian/generate", "pca/generate", "encoder.uint8", "decoder.uint8"}
    assert parity <= m["parity"].keys() and m["parity"]["decoder.uint8"] == 0
    assert all(m["parity"][name] <= 1e-5 for name in parity - {"encoder.uint8"})


def test_they_are_plain_onnx_and_explain_themselves(bundle: Path):
    m = manifest_of(bundle)
    for entry in m["graphs"]:
        model = onnx.load(bundle / entry["file"], load_external_data=False)
        onnx.checker.check_model(model, full_check=True)
        assert model.ir_version == 10 and [(each.domain, each.version) for each in model.opset_import] == [("", 18)]
        assert not any(node.domain for node in model.graph.node) and not model.functions
        for tensors, wanted in ((model.graph.input, entry["inputs"]), (model.graph.output, entry["outputs"])):
            assert [tensor.name for tensor in tensors] == list(wanted)
            for tensor in tensors:
                kind, said = tensor.type.tensor_type, wanted[tensor.name]
                assert [size.dim_param or size.dim_value for size in kind.shape.dim] == said["shape"]
                assert onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type) == said["dtype"]
        notes = {each.key: each.value for each in model.metadata_props}
        assert notes["aepipe.pair"] == m["pair"] and notes["aepipe.role"] == entry["role"]
        assert notes.get("aepipe.density") == entry.get("density") and notes.get("aepipe.io", "float") == entry["io"]
        assert json.loads(notes["aepipe.image"]) == m["image"]["shape"] and model.producer_name == "aepipe"


def test_weights_that_are_used_twice_are_stored_once(digits: Path):
    parts = sum((digits / file).stat().st_size for file in ("encoder.onnx", "decoder.onnx"))
    assert (digits / "interpolate.onnx").stat().st_size < parts + 5000
    names = [node.name for node in onnx.load(digits / "interpolate.onnx").graph.node if node.name]
    assert len(set(names)) == len(names)


def test_card_and_inspect_show_them(bundle: Path, call, tmp_path):
    c, h, w = Bundle(bundle).shape
    card = (bundle / "README.md").read_text()
    assert f"| `encoder.uint8.onnx` | `image` uint8 [batch, {h}, {w}, {c}] |" in card
    assert (
        "from the graphs above |" in card and "0.0e+00 from `decoder.onnx` |" in card and "halves to the even" in card
    )
    shown = call("inspect", bundle)
    assert shown.code == 0 and f"image uint8 [batch, {h}, {w}, {c}]" in shown.out and "precisions  fp32\n" in shown.out
    assert f"image_a [batch_a, {c}, {h}, {w}], image_b [batch_b, {c}, {h}, {w}], alpha [batch]" in shown.out
    code = card.partition("```python\n")[2].partition("```")[0]
    moved = Path(shutil.copytree(bundle, tmp_path / bundle.name))
    subprocess.run(
        [sys.executable, "-c", code + "\nassert reconstruction.shape == image.shape"], cwd=tmp_path, check=True
    )
    (moved / "interpolate.onnx").write_bytes((moved / "reconstruct.onnx").read_bytes())
    damaged = call("inspect", moved, "--json")
    assert damaged.code == 2 and list(json.loads(damaged.out)["problems"]) == ["interpolate.onnx"]


# What they compute


@pytest.mark.parametrize("count", [1, 5, 64])
def test_bytes_are_exact(bundle: Path, count: int):
    pixels = some_bytes(bundle, count)
    codes = run(bundle / "encoder.uint8.onnx", image=pixels)
    np.testing.assert_array_equal(codes, run(bundle / "encoder.onnx", image=as_floats(pixels)))
    decoded = run(bundle / "decoder.uint8.onnx", latent=codes)
    floats = run(bundle / "decoder.onnx", latent=codes)
    assert decoded.dtype == np.uint8 and decoded.shape == pixels.shape and len(np.unique(decoded)) > 20
    np.testing.assert_array_equal(decoded, np.rint(floats * 255).astype(np.uint8).transpose(0, 2, 3, 1))


def test_halves_are_rounded_to_even_and_values_beyond_white_and_black_are_clipped(tmp_path):
    """A decoder that gives its codes back shows what happens to any pixel."""
    images = np.random.default_rng(0).random((40, 1, 16, 16), dtype=np.float32)
    decoder = nn.Unflatten(1, (1, 16, 16))
    out = aepipe.export_modules(
        nn.Flatten(), decoder, images, tmp_path / "x", densities=(), io="uint8", lower="none", show=False
    )
    halves = (np.arange(256, dtype=np.float32) + np.float32(0.5)) / np.float32(255)
    exact = halves * np.float32(255) == np.arange(256) + 0.5
    assert exact.sum() > 200
    got = run(out / "decoder.uint8.onnx", latent=halves[None]).ravel()
    below = np.arange(256)
    np.testing.assert_array_equal(got[:255][exact[:255]], (below + below % 2)[:255][exact[:255]])
    extremes = np.resize(np.float32([-1e9, -0.2, 1.2, 1e9]), (1, 256))
    assert run(out / "decoder.uint8.onnx", latent=extremes).ravel()[:4].tolist() == [0, 0, 255, 255]
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)  # every byte goes there and back
    back = run(out / "decoder.uint8.onnx", latent=run(out / "encoder.uint8.onnx", image=levels))
    np.testing.assert_array_equal(back, levels)


@pytest.mark.parametrize("count", [1, 6])
def test_whole_tasks_compute_what_the_runtime_computes(bundle: Path, count: int):
    images = as_floats(some_bytes(bundle, 2 * count))
    a, b = images[:count], images[count:]
    with aepipe.load(bundle, "cpu") as model:
        near = {"atol": 1e-5, "rtol": 0}
        np.testing.assert_allclose(run(bundle / "reconstruct.onnx", image=a), model.reconstruct(a), **near)
        for density in ("gaussian", "pca"):
            size = (count, model.bundle.noise_features(density))
            noise = np.random.default_rng(7).standard_normal(size, dtype=np.float32)
            drawn = run(bundle / f"generate/{density}.onnx", noise=noise)
            np.testing.assert_allclose(drawn, model.sample(count, density, seed=7), **near)
        lines = model.interpolate(a, b, steps=5)
        interpolate, alpha = bundle / "interpolate.onnx", np.linspace(0, 1, 5, dtype=np.float32)
        for k in range(count):  # one pair, five alphas
            pair = {"image_a": a[k : k + 1], "image_b": b[k : k + 1]}
            np.testing.assert_allclose(run(interpolate, **pair, alpha=alpha), lines[k], **near)
        for k in range(5):  # as many pairs as alphas
            found = run(interpolate, image_a=a, image_b=b, alpha=np.full(count, alpha[k]))
            np.testing.assert_allclose(found, lines[:, k], **near)
        star = run(interpolate, image_a=a, image_b=b[:1], alpha=np.full(count, np.float32(0.5)))  # one end for all
        np.testing.assert_allclose(star, model.interpolate(a, b[:1].repeat(count, 0), steps=3)[:, 1], **near)


# Beside everything else


def test_the_runtime_takes_the_float_graphs(bundle: Path, call, tmp_path):
    opened = Bundle(bundle)
    assert opened.precisions == ["fp32"] and opened.file("encoder").name == "encoder.onnx"
    assert opened.graph("encoder", io="uint8").file == "encoder.uint8.onnx"
    assert opened.has("reconstruct") and opened.has("generate", "pca") and not opened.has("generate", "gmm")
    assert len(set(opened.roles())) == len(opened.roles())
    m = manifest_of(bundle)
    turned = Path(shutil.copytree(bundle, tmp_path / bundle.name))
    (turned / "manifest.json").write_text(json.dumps({**m, "graphs": m["graphs"][::-1]}))  # in any order
    np.save(tmp_path / "images.npy", as_floats(some_bytes(bundle, 3)))
    for each in (bundle, turned):
        assert call("infer", "reconstruct", each, tmp_path / "images.npy", "-o", tmp_path / "x.npy").code == 0
    assert np.load(tmp_path / "x.npy").dtype == np.float32


def test_a_manifest_without_io_is_read_as_float(digits_bundle: Path, tmp_path):
    old = Path(shutil.copytree(digits_bundle, tmp_path / "old"))
    manifest = manifest_of(old)
    for graph in manifest["graphs"]:
        del graph["io"]
    (old / "manifest.json").write_text(json.dumps(manifest))
    codes = np.zeros((2, 4), np.float32)
    np.testing.assert_array_equal(
        aepipe.load(old, "cpu").decode(codes), aepipe.load(digits_bundle, "cpu").decode(codes)
    )
    with pytest.raises(BadInput, match="no encoder graph for uint8"):
        Bundle(old).graph("encoder", io="uint8")


def test_other_precisions_stay_beside_them(colour_run: Run, tmp_path):
    out = colour_run.export(tmp_path / "x", io="uint8", precision="int8,fp16", max_drop=9.0, show=False)
    bundle = Bundle(out)
    assert bundle.precisions == ["fp32", "int8", "fp16"]
    assert [graph.precision for graph in bundle.graphs if graph.io == "uint8"] == ["fp32", "fp32"]
    assert {path.name for path in out.glob("*.uint8.*")} == BYTES and "io" not in bundle.manifest.precisions["int8"]
    for graph in bundle.graphs:
        bundle.check(graph)
    assert "MSE" in (out / "README.md").read_text()


def test_an_unknown_io_names_the_known_ones(colour_run: Run, call, tmp_path):
    done = call("export", colour_run.directory, "-o", tmp_path / "x", "--io", "uint16")
    assert (
        done.code == 2 and "unknown io 'uint16'" in done.err and "did you mean 'uint8'? known: float, uint8" in done.err
    )
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("graph", "right", "wrong", "name"),
    [("TO_BYTES", "Round", "Floor", "decoder.uint8"), ("BETWEEN", "Sub (one", "Mul (one", "interpolate")],
)
def test_a_graph_that_computes_something_else_is_refused(
    monkeypatch, colour_run, colour, tmp_path, graph, right, wrong, name
):
    from aepipe.workshop.graphs import composing as whole_task

    text = getattr(whole_task, graph)
    monkeypatch.setattr(whole_task, graph, text.replace(right, wrong))
    out = Path(shutil.copytree(colour, tmp_path / "out"))
    with pytest.raises(ParityError, match=f"the graph of {name} differs from the graphs it is made of"):
        colour_run.export(out, io="uint8", show=False)
    assert contents(out) == contents(colour) and [path.name for path in tmp_path.iterdir()] == ["out"]
