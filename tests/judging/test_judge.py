"""Judged sample quality: the judge, `aepipe eval --density`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from aepipe.bundle.manifest import sha256
from aepipe.errors import BadInput
from aepipe.images.data import open_images
from aepipe.judging.judge import SHIPPED, Judge, shipped
from aepipe.runtime.providers import provider

from tests.helpers.commands import python

FIGURES = {"frechet", "kernel", "precision", "recall", "density", "coverage", "two_sample"}


def opened(path: Path, shape: tuple[int, ...] = (1, 28, 28)) -> Judge:
    return Judge(path, shape, provider("cpu"), threads=1)


def test_the_shipped_judge_is_the_released_one() -> None:
    path = shipped("mnist")
    assert sha256(path) == SHIPPED["mnist"] and path.stat().st_size < 500_000
    proto = onnx.load(path)
    note = json.loads({each.key: each.value for each in proto.metadata_props}["aepipe.judge"])
    assert note["accuracy"] >= 0.992 and note["data"] == "mnist" and note["features"] == 64
    found = opened(path)(np.zeros((3, 1, 28, 28), np.float32))
    assert found.shape == (3, 64) and found.dtype == np.float32
    assert SHIPPED["mnist"] in (path.parent / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("shape", [(28,), (1, 784), (1, 28, 28, 28)])
def test_a_judge_says_that_it_needs_images(shape: tuple[int, ...]) -> None:
    with pytest.raises(BadInput, match="compares images") as refused:
        opened(shipped("mnist"), shape)
    assert refused.value.hint


def test_the_shipped_judge_knows_mnist(data_folder: Path) -> None:
    import onnxruntime as ort

    test = open_images("mnist")
    images = test.read(np.arange(len(test))).astype(np.float32) / 255
    session = ort.InferenceSession(str(shipped("mnist")), providers=["CPUExecutionProvider"])
    parts = [session.run(["logits"], {"image": images[start : start + 500]})[0] for start in range(0, 10_000, 500)]
    assert (np.concatenate(parts).argmax(1) == test.labels).mean() >= 0.992


@pytest.fixture(scope="module")
def small_judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A judge for digits of 16x16 pixels, trained for a moment."""
    path = tmp_path_factory.mktemp("judges") / "small.onnx"
    arguments = ["--data", "digits:size=16", "-o", str(path), "--epochs", "5", "--device", "cpu"]
    command = [sys.executable, "-m", "aepipe_builtins.train_judge", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and "test images of digits:size=16 are right" in done.stderr, done.stderr
    return path


def test_a_judge_is_trained_and_exported(small_judge: Path) -> None:
    proto = onnx.load(small_judge)
    assert [proto.opset_import[0].version, proto.ir_version] == [18, 10]
    assert "BatchNormalization" not in {node.op_type for node in proto.graph.node}
    assert [each.name for each in proto.graph.output] == ["features", "logits"]
    assert b".py" not in small_judge.read_bytes(), "the exporter's stack traces"
    judge = opened(small_judge, (1, 16, 16))
    assert judge.as_json()["data"] == "digits:size=16" and judge.as_json()["accuracy"] > 0.3
    images = np.random.default_rng(0).random((5, 1, 16, 16), dtype=np.float32)
    np.testing.assert_allclose(judge(images)[3:], judge(images[3:]), atol=1e-4)


@pytest.mark.slow
def test_eval_judges_samples(call, digits_bundle: Path) -> None:
    arguments = ["--data", "digits", "--provider", "cpu", "--density", "pca", "--judge", shipped("mnist")]
    outcome = call("eval", digits_bundle, *arguments, "--count", "120", "--json")
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)
    assert found["density"] == "pca" and found["judged"] == 120 and found["count"] == 359
    assert found["judge"]["sha256"] == SHIPPED["mnist"]
    for key in ("midpoints", "reconstructions"):
        assert set(found[key]) == FIGURES
    for key in ("samples", "train"):
        assert set(found[key]) == FIGURES | {"log_likelihood"}
    assert set(found["paths"]) == {"linear", "slerp", "density"}
    for path in found["paths"].values():
        assert set(path) == {"pairs", "class_kept", "length", "largest_step"} and 100 < path["pairs"] < 120
    assert 0 < found["train"]["frechet"] < found["reconstructions"]["frechet"] < found["samples"]["frechet"]
    assert found["train"]["two_sample"] == pytest.approx(0.5, abs=0.15)
    again = call("eval", digits_bundle, *arguments, "--count", "120", "--json", "--batch-size", "17")
    assert json.loads(again.out)["samples"] == pytest.approx(found["samples"], rel=1e-3, abs=0.02)
    table = call("eval", digits_bundle, *arguments, "--limit", "60")
    assert (
        table.code == 0
        and "reconstructions" in table.out
        and "class_kept" in table.out
        and "pca, 60 images a set" in table.out
    )
    assert "note: 60 images a set" in table.err


def test_the_default_judge_is_mnists(call, data_folder: Path, digits_bundle: Path) -> None:
    outcome = call("eval", digits_bundle, "--data", "mnist[:100]", "--density", "gaussian", "--count", "100", "--json")
    assert outcome.code == 0 and json.loads(outcome.out)["judge"]["file"] == "mnist.onnx"


def test_judged_in_the_base_install_without_splits(digits_bundle: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", open_images("digits", limit=40).read(np.arange(40)))
    code = (
        "import sys; from aepipe.cli import run; code = run(sys.argv[1:]); "
        "print([name for name in ('torch', 'onnx', 'scipy', 'sklearn') if name in sys.modules], file=sys.stderr); "
        "sys.exit(code)"
    )
    arguments = [
        digits_bundle,
        "--data",
        tmp_path / "images.npy",
        "--density",
        "gaussian",
        "--provider",
        "cpu",
        "--json",
    ]
    done = python(code, "eval", *arguments, "--judge", shipped("mnist"))
    assert done.returncode == 0 and done.stderr.splitlines()[-1] == "[]", done.stderr
    found = json.loads(done.stdout)
    assert found["train"] is None and found["judged"] == 40 and "has no training split" in done.stderr


def test_refusals_of_judging(call, digits_run, digits_bundle: Path, small_judge: Path, tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no graph")
    base = ["eval", digits_bundle, "--data", "digits", "--provider", "cpu"]
    cases = [
        ([*base, "--density", "pca"], "no judge for digits", "--judge FILE.onnx"),
        ([*base, "--density", "pca", "--judge", small_judge], "images of shape [1, 16, 16]", "train_judge"),
        ([*base, "--density", "pca", "--judge", tmp_path / "none.onnx"], "there is no judge", "train_judge"),
        ([*base, "--density", "pca", "--judge", tmp_path / "text.onnx"], "is not an ONNX file", "train_judge"),
        ([*base, "--density", "pca", "--judge", digits_bundle / "decoder.onnx"], "is no judge", "train_judge"),
        ([*base, "--density", "flow", "--judge", shipped("mnist")], "has no density 'flow'", "gaussian, pca"),
        ([*base, "--density", "pca", "--judge", shipped("mnist"), "--limit", "5"], "too few", "10"),
        ([*base, "--density", "pca", "--judge", shipped("mnist"), "--split", "train"], "test images", "--split"),
        ([*base, "--judge", shipped("mnist")], "--judge belongs", "--density"),
        (["eval", digits_run.directory, "--data", "digits", "--density", "pca"], "--density belongs", "export"),
    ]
    for arguments, message, hint in cases:
        outcome = call(*arguments)
        assert outcome.code == 2 and outcome.out == "", (arguments, outcome.err)
        assert message in outcome.err and hint in outcome.err.splitlines()[-1], (arguments, outcome.err)
