"""The provider alone, then under a bundle. The promises that every provider keeps are checked by
`pytest --aepipe-conformance aepipe-openvino`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import aepipe
import numpy as np
import pytest
from aepipe import AepipeError, ProviderUnavailable, plugins
from aepipe_openvino import openvino

HAS_BF16 = Path("/proc/cpuinfo").exists() and "avx512_bf16" in Path("/proc/cpuinfo").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The convolutional pair after one epoch on a few digits."""
    home = tmp_path_factory.mktemp("home")
    run = aepipe.fit("digits", latent_dim=8, epochs=1, limit=300, out=home / "run", show=False)
    return run.export(home / "bundle", show=False)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """64 held-out digits [64, 1, 28, 28] in 0..1."""
    return np.asarray(plugins.create("dataset", "digits").load("test"))[:64].astype(np.float32) / 255


def computed(bundle: Path, images: np.ndarray, provider: str, **settings: int) -> tuple[np.ndarray, np.ndarray]:
    """Codes and reconstructions."""
    with aepipe.load(bundle, provider, threads=1, **settings) as model:
        return model.encode(images), model.reconstruct(images)


def farthest(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max())


def graph_of_relu_and_identity(path: Path) -> Path:
    """x [N, 3] to z [N, 3], which is the tensor `a` under another name."""
    from onnx import TensorProto, helper

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3]) for name in "xz"]
    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Identity", ["a"], ["z"])]
    graph = helper.make_graph(nodes, "small", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    path.write_bytes(model.SerializeToString())
    return path


def test_float32_is_what_onnx_runtime_computes(bundle, images):
    codes, pictures = computed(bundle, images, "openvino")
    expected, drawn = computed(bundle, images, "cpu")
    assert farthest(pictures, drawn) <= 1e-5
    assert (np.abs(codes - expected) <= 1e-4 * np.maximum(1, np.abs(expected))).all()


def test_the_density_gives_the_same_samples_and_scores(bundle, images):
    with aepipe.load(bundle, "openvino") as ours, aepipe.load(bundle, "cpu") as reference:
        assert farthest(ours.sample(9, "pca", seed=3), reference.sample(9, "pca", seed=3)) <= 1e-5
        ours_score, score = ours.score(images)["log_density"], reference.score(images)["log_density"]
        np.testing.assert_allclose(ours_score, score, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_faster_precision_is_computed_in_or_refused(precision, bundle, images):
    try:
        codes, pictures = computed(bundle, images, f"openvino:precision={precision}")
    except ProviderUnavailable as error:
        assert precision in error.message and "precision=fp32" in error.hint
        assert precision == "fp16" or not HAS_BF16
        return
    expected, drawn = computed(bundle, images, "cpu")
    print(f"{precision}: codes differ by {farthest(codes, expected):.2g}, pixels by {farthest(pictures, drawn):.2g}")
    assert farthest(codes, expected) > 1e-5, "so exact is only float32"
    assert farthest(codes, expected) < 0.05 * np.abs(expected).max()
    assert farthest(pictures, drawn) < 0.1


def test_fp16_is_never_bf16_under_another_name(bundle, images):
    """What OpenVINO gives who hints at f16 on a processor without it."""
    try:
        fp16, bf16 = (computed(bundle, images, f"openvino:precision={name}")[0] for name in ("fp16", "bf16"))
    except ProviderUnavailable:
        return
    assert not np.array_equal(fp16, bf16)


def test_any_batch_may_follow_any_other_and_results_stay(bundle, images):
    path = bundle / "encoder.onnx"
    session = openvino().open(path, threads=1, batch=64)
    sizes = (64, 7, 1, 64, 65)
    given = [np.concatenate([images, images])[-size:] for size in sizes]
    results = [session.run({"image": batch})["latent"] for batch in given]
    session.close()
    for batch, result in zip(given, results, strict=True):
        alone = openvino().open(path, threads=1)
        np.testing.assert_allclose(alone.run({"image": batch})["latent"], result, atol=1e-5)
        assert result.shape == (len(batch), 8) and result.flags.owndata


def test_the_last_batch_is_smaller(bundle, images):
    _, whole = computed(bundle, images, "openvino", batch_size=64)
    _, parts = computed(bundle, images, "openvino", batch_size=10)
    assert farthest(whole, parts) <= 1e-5


def test_outputs_keep_the_names_that_the_file_gives_them(tmp_path):
    session = openvino().open(graph_of_relu_and_identity(tmp_path / "graph.onnx"))
    results = session.run({"x": np.array([[-1, 0, 2]], np.float32)})
    assert list(results) == ["z"] and results["z"].tolist() == [[0, 0, 2]]


@pytest.mark.parametrize("device", ["XPU", "CPU.7", "AUTO", "HETERO:GPU,CPU"])
def test_a_device_that_is_not_there_is_refused_and_those_that_are_named(device, bundle):
    with pytest.raises(ProviderUnavailable, match=r"only: .*\bCPU\b") as caught:
        openvino(device=device).open(bundle / "encoder.onnx")
    assert device in caught.value.message and "openvino:device=" in caught.value.hint


def test_a_device_may_be_written_small(bundle, images):
    session = openvino(device="cpu").open(bundle / "encoder.onnx")
    assert session.run({"image": images[:1]})["latent"].shape == (1, 8)


def test_without_openvino_it_says_what_to_install(bundle, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ProviderUnavailable, match="cannot be imported") as caught:
        openvino().open(bundle / "encoder.onnx")
    assert caught.value.hint == "pip install openvino"


def test_a_damaged_graph_and_a_wrong_shape_are_one_sentence(bundle, images, tmp_path):
    cut = tmp_path / "cut.onnx"
    cut.write_bytes((bundle / "encoder.onnx").read_bytes()[:2000])
    with pytest.raises(AepipeError, match=r"cut\.onnx") as caught:
        openvino().open(cut)
    assert "\n" not in caught.value.message
    session = openvino().open(bundle / "encoder.onnx")
    with pytest.raises(RuntimeError, match=r"^[^\n]*27[^\n]*$"):
        session.run({"image": images[:, :, 1:]})


def test_nothing_is_sent_or_left_behind_when_openvino_is_imported(bundle, tmp_path):
    code = f"""
import sys
from aepipe_openvino import openvino
assert "openvino" not in sys.modules
openvino().open({str(bundle / "encoder.onnx")!r})
assert "openvino" in sys.modules and "openvino_telemetry" not in sys.modules
"""
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.iterdir())
