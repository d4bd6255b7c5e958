"""int8 and fp16 graphs beside fp32, the gate before them, and infer --precision."""

from __future__ import annotations

import json
from pathlib import Path

import aepipe
import numpy as np
import onnx
import pytest
from aepipe.bundle.reader import Bundle
from aepipe.images.data import open_images
from PIL import Image

pytestmark = pytest.mark.trains


@pytest.fixture(scope="session")
def precise(digits_run, tmp_path_factory) -> Path:
    """The digits' bundle in all precisions."""
    out = tmp_path_factory.mktemp("precise") / "digits"
    return digits_run.export(out, precision=("int8", "fp16"), calibrate="digits", max_drop=0.05, show=False)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return open_images("digits", split="test").read(np.arange(100)).astype(np.float32) / 255


def test_the_manifest_lists_every_precision(precise):
    bundle = Bundle(precise)
    assert bundle.precisions == ["fp32", "int8", "fp16"]
    report = bundle.manifest.precisions
    for name in ("int8", "fp16"):
        assert report[name]["mse"] <= report[name]["fp32"] * 1.05
        for role in ("encoder", "decoder"):
            graph = bundle.graph(role, precision=name)
            assert bundle.path(graph).name == f"{role}.{name}.onnx"
            notes = {each.key: each.value for each in onnx.load(bundle.path(graph)).metadata_props}
            assert notes["aepipe.precision"] == name and notes["aepipe.pair"] == bundle.pair
            assert all(key.startswith("aepipe.") for key in notes)
            assert bundle.path(graph).stat().st_size < bundle.file(role).stat().st_size


def test_int8_has_no_layer_left_in_float(precise):
    for role in ("encoder", "decoder"):
        nodes = onnx.load(precise / f"{role}.int8.onnx").graph.node
        made = {name: node.op_type for node in nodes for name in node.output}
        layers = [node for node in nodes if node.op_type in ("Conv", "ConvTranspose", "Gemm")]
        assert layers and all(made[node.input[0]] == made[node.input[1]] == "DequantizeLinear" for node in layers)


def test_pairs_of_int8_products_fit_into_16_bits(precise):
    """AVX2 adds u8 · s8 products in pairs with saturation; with weights of 7 bits no sum comes near its limits."""
    for role in ("encoder", "decoder"):
        graph = onnx.load(precise / f"{role}.int8.onnx").graph
        arrays = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
        weights = [array for name, array in arrays.items() if array.dtype == np.int8 and array.ndim > 1]
        layers = [node for node in graph.node if node.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul")]
        assert len(weights) == len(layers) > 2
        for each in weights:
            assert 2 * 255 * int(np.abs(each.astype(int)).max()) <= np.iinfo(np.int16).max
            assert np.abs(each.astype(int)).max() >= 60  # and the 7 bits are used


def test_fp16_of_a_decoder_that_enlarges_twice(tmp_path):
    """Both `Resize` take the same sizes as float32, which the converter casted back under one name twice."""
    rng = np.random.default_rng(0)
    options = {"encoder": "mlp:hidden=8", "decoder": "upsample:channels=4,mode=bilinear", "latent_dim": 2}
    run = aepipe.fit(rng.random((32, 28, 28), np.float32), **options, epochs=1, out=tmp_path / "run", show=False)
    bundle = run.export(tmp_path / "bundle", precision="fp16", max_drop=1.0, show=False)
    codes = rng.standard_normal((5, 2), np.float32)
    plain, half = (aepipe.load(bundle, "cpu", precision=each).decode(codes) for each in ("fp32", "fp16"))
    assert np.abs(plain - half).max() < 1e-2


@pytest.mark.parametrize(("precision", "near"), [("int8", 0.05), ("fp16", 2e-3)])
def test_it_computes_nearly_what_fp32_computes(precise, images, precision, near):
    with aepipe.load(precise, "cpu") as fp32, aepipe.load(precise, "cpu", precision=precision) as model:
        expected, got = fp32.reconstruct(images), model.reconstruct(images)
        assert got.dtype == np.float32 and got.shape == expected.shape
        assert 0 < np.abs(got - expected).mean() < near
        assert model.sample(5, seed=1).shape == (5, *model.shape)  # densities are fp32 in every precision
        np.testing.assert_array_equal(model.reconstruct(images[:3]), model.reconstruct(images)[:3])


def test_from_the_command_line(precise, images, tmp_path, call):
    np.save(tmp_path / "images.npy", images)
    call("infer", "reconstruct", precise, tmp_path / "images.npy", "-o", tmp_path / "x.npy", "--precision", "int8")
    expected = aepipe.load(precise, "cpu", precision="int8").reconstruct(images)
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), expected)
    found = json.loads(call("eval", precise, "--data", tmp_path / "images.npy", "--precision", "fp16", "--json").out)
    restored = aepipe.load(precise, "cpu", precision="fp16").reconstruct(images)
    assert found["mse"] == pytest.approx(float(np.square(restored - images).mean()), rel=1e-4)


def test_a_precision_that_is_not_there_is_refused(digits_bundle, precise, call):
    done = call("infer", "sample", digits_bundle, "-o", "x.png", "--precision", "int8")
    assert (
        done.code == 2 and "no precision 'int8'" in done.err and "aepipe export RUN --precision fp32,int8" in done.err
    )
    done = call("infer", "sample", precise, "-o", "x.png", "--precision", "int9")
    assert done.code == 2 and "did you mean 'int8'?" in done.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"precision": "int7"}, "unknown precision 'int7'"),
        ({"max_drop": float("nan")}, "max_drop"),
        ({"max_drop": -1.0}, "max_drop"),
        ({"precison": "int8"}, "no option 'precison'"),
        ({"precision": "int8", "calibrate": "nowhere/at/all"}, "nowhere/at/all"),
        ({"calibrate": "digits"}, "belong to a precision"),
    ],
)
def test_bad_options_write_nothing(digits_run, tmp_path, options, said):
    with pytest.raises(aepipe.BadInput, match=said):
        digits_run.export(tmp_path / "x", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_what_costs_too_much_is_left_out(digits_run, tmp_path, images, call):
    """Calibrated on nearly black images, the ranges are far too small for digits."""
    for split, pictures in (
        ("train", np.full((4, 28, 28), 2, np.uint8)),
        ("test", (images[:20, 0] * 255).astype(np.uint8)),
    ):
        (tmp_path / "data" / split).mkdir(parents=True)
        for index, picture in enumerate(pictures):
            Image.fromarray(picture).save(tmp_path / "data" / split / f"{index}.png")
    options = ["--precision", "fp32,int8", "--calibrate", tmp_path / "data", "--max-drop", 0.01]
    done = call("export", digits_run.directory, "-o", tmp_path / "x", *options)
    assert done.code == 3 and "int8 raises the MSE from" in done.err and "--calibrate" in done.err
    bundle = Bundle(tmp_path / "x")
    assert bundle.precisions == ["fp32"] and not list((tmp_path / "x").glob("*int8*"))
    for graph in bundle.graphs:
        bundle.check(graph)


@pytest.mark.slow
def test_layers_that_cost_too_much_stay_fp32(digits_run, tmp_path):
    """With nothing to lose allowed, the search keeps layers in fp32 until the gate passes, or gives up at half of them."""
    try:
        digits_run.export(tmp_path / "x", precision="int8", calibrate="digits[:60]", max_drop=0.0, show=False)
        report = json.loads((tmp_path / "x" / "manifest.json").read_text())["precisions"]["int8"]
        assert report["mse"] <= report["fp32"]
        names = {
            node.name
            for role in ("encoder", "decoder")
            for node in onnx.load(tmp_path / "x" / f"{role}.int8.onnx").graph.node
        }
        assert set(report["fp32_layers"]) <= names
    except aepipe.PrecisionRefused:
        assert Bundle(tmp_path / "x").precisions == ["fp32"]
