"""Graphs for images as bytes and for whole tasks in a bundle: export --io uint8."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from aepipe.bundle.reader import Bundle
from aepipe.workshop.run import Run

from tests.helpers.bundles import manifest_of
from tests.helpers.folders import contents
from tests.helpers.images import as_floats, some_bytes

pytestmark = pytest.mark.trains

MADE = {"reconstruct.onnx", "interpolate.onnx", "generate/gaussian.onnx", "generate/pca.onnx"}
BYTES = {"encoder.uint8.onnx", "decoder.uint8.onnx"}


# What a bundle holds


def test_the_command_adds_them(call, colour_run: Run, colour_bytes: Path, tmp_path):
    done = call("export", colour_run.directory, "-o", tmp_path / "x", "--io", "float, uint8")
    assert done.code == 0 and "adding 6 graphs for bytes and whole tasks" in done.err
    plain = colour_run.export(tmp_path / "plain", show=False)
    assert set(contents(tmp_path / "x")) == set(contents(plain)) | MADE | BYTES == set(contents(colour_bytes))


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


def test_weights_that_are_used_twice_are_stored_once(digits_bytes: Path):
    parts = sum((digits_bytes / file).stat().st_size for file in ("encoder.onnx", "decoder.onnx"))
    assert (digits_bytes / "interpolate.onnx").stat().st_size < parts + 5000
    names = [node.name for node in onnx.load(digits_bytes / "interpolate.onnx").graph.node if node.name]
    assert len(set(names)) == len(names)


def test_card_and_inspect_show_them(bundle: Path, call, tmp_path):
    c, h, w = Bundle(bundle).shape
    card = (bundle / "README.md").read_text()
    assert f"| `encoder.uint8.onnx` | `image` uint8 [batch, {h}, {w}, {c}] |" in card
    assert (
        "from the graphs above |" in card and "0.0e+00 from `decoder.onnx` |" in card and "halves to the even" in card
    )
    shown = call("inspect", bundle)
    assert shown.code == 0 and f"image uint8 [batch, {h}, {w}, {c}]" in shown.out
    assert re.search(r"precisions +fp32\n", shown.out)
    assert f"image_a [batch_a, {c}, {h}, {w}], image_b [batch_b, {c}, {h}, {w}], alpha [batch]" in shown.out
    code = card.partition("```python\n")[2].partition("```")[0]
    moved = Path(shutil.copytree(bundle, tmp_path / bundle.name))
    subprocess.run(
        [sys.executable, "-c", code + "\nassert reconstruction.shape == image.shape"], cwd=tmp_path, check=True
    )
    (moved / "interpolate.onnx").write_bytes((moved / "reconstruct.onnx").read_bytes())
    damaged = call("inspect", moved, "--json")
    assert damaged.code == 2 and list(json.loads(damaged.out)["problems"]) == ["interpolate.onnx"]


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
    np.save(tmp_path / "images.npy", as_floats(some_bytes(Bundle(bundle).shape, 3)))
    for each in (bundle, turned):
        assert call("infer", "reconstruct", each, tmp_path / "images.npy", "-o", tmp_path / "x.npy").code == 0
    assert np.load(tmp_path / "x.npy").dtype == np.float32


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
