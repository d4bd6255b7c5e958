"""Judged sample quality: the instruments against closed forms and slow implementations, the judge, `aepipe eval --density`."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import onnx
import pytest
from aepipe.bundle.manifest import sha256
from aepipe.errors import BadInput
from aepipe.images.data import open_images
from aepipe.judging.distances import auroc, frechet, kernel_distance, neighbours
from aepipe.judging.judge import SHIPPED, Judge, shipped
from aepipe.runtime.providers import provider

FIGURES = {"frechet", "kernel", "precision", "recall", "two_sample"}


def normal(count: int, size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, size))


def whitened(count: int, size: int, seed: int) -> np.ndarray:
    """Points whose mean is 0 and whose covariance is the identity, not only on average."""
    points = normal(count, size, seed)
    points -= points.mean(0)
    return points @ np.linalg.inv(np.linalg.cholesky(np.cov(points, rowvar=False))).T


def test_frechet_is_the_closed_form() -> None:
    a, b = whitened(500, 6, 0), whitened(400, 6, 1)
    assert frechet(a, a) == pytest.approx(0, abs=1e-9)
    scale = np.arange(1, 7)
    assert frechet(a, b * scale + 2) == pytest.approx(6 * 4 + np.square(scale - 1).sum())
    first, second = normal(6, 6, 2), normal(6, 6, 3)
    product = np.linalg.eigvals((first.T @ first) @ (second.T @ second)).real
    expected = np.square(first).sum() + np.square(second).sum() - 2 * np.sqrt(product.clip(0)).sum()
    assert frechet(a @ first, b @ second) == pytest.approx(expected, rel=1e-6)
    assert frechet(normal(5, 64), normal(5, 64)) == pytest.approx(0, abs=1e-6), "fewer points than features"


def test_kernel_distance_is_unbiased_and_the_papers() -> None:
    found = [kernel_distance(normal(100, 4, seed), normal(100, 4, seed + 1000), block=50) for seed in range(60)]
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found)) < 3 * error and min(found) < 0 < max(found)
    assert kernel_distance(normal(100, 4), normal(100, 4, 1) + 1) > 20 * np.std(found)
    a, b = normal(7, 3), normal(5, 3, 1)

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return (float(x @ y) / 3 + 1) ** 3

    slow = sum(kernel(a[i], a[j]) for i in range(7) for j in range(7) if i != j) / 42
    slow += sum(kernel(b[i], b[j]) for i in range(5) for j in range(5) if i != j) / 20
    slow -= 2 * sum(kernel(x, y) for x in a for y in b) / 35
    assert kernel_distance(a, b) == pytest.approx(slow)


def test_neighbours_of_equal_alike_and_distant_sets() -> None:
    a, alike = normal(600, 5), normal(600, 5, 1)
    same = neighbours(a, a)
    assert (same["precision"], same["recall"]) == (1, 1) and same["two_sample"] < 0.5, "copies"
    found = neighbours(a, alike)
    assert found["two_sample"] == pytest.approx(0.5, abs=0.06) and min(found["precision"], found["recall"]) > 0.8
    assert neighbours(a, alike + 50) == {"precision": 0, "recall": 0, "two_sample": 1}
    narrow = neighbours(a, alike * 0.2)
    assert narrow["precision"] > 0.95 and narrow["recall"] < 0.2, "good points that miss most of the set"


@pytest.mark.parametrize("k", [1, 3])
def test_neighbours_are_those_of_a_slow_search(k: int) -> None:
    real, made = normal(40, 3), 0.7 * normal(30, 3, 1) + 0.3
    both = np.concatenate([real, made])
    distance = np.linalg.norm(both[:, None] - both[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    radius = [np.sort(distance[i, :40] if i < 40 else distance[i, 40:])[k - 1] for i in range(70)]
    precision = np.mean([any(distance[i, j] <= radius[i] for i in range(40)) for j in range(40, 70)])
    recall = np.mean([any(distance[i, j] <= radius[j] for j in range(40, 70)) for i in range(40)])
    own = [(distance[i].argmin() < 40) == (i < 40) for i in range(70)]
    expected = {"precision": precision, "recall": recall, "two_sample": (np.mean(own[:40]) + np.mean(own[40:])) / 2}
    assert neighbours(real, made, k=k) == pytest.approx(expected)


def test_chunks_change_the_memory_and_nothing_else() -> None:
    a, b = normal(1500, 8), normal(1400, 8, 1)
    tracemalloc.start()
    chunked = neighbours(a, b, chunk=1 << 15)
    small = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    whole = neighbours(a, b)
    large = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert chunked == pytest.approx(whole, abs=1e-12)
    assert small < 2e6 < 8 * 1500 * 1400 < large


def test_auroc() -> None:
    labels = np.array([0, 0, 1, 1, 0, 1])
    assert auroc(np.array([1, 2, 5, 6, 3, 7]), labels) == 1
    assert auroc(-np.array([1, 2, 5, 6, 3, 7]), labels) == 0
    assert auroc(np.zeros(6), labels) == 0.5
    scores = np.random.default_rng(0).integers(0, 5, 50)
    positive = np.random.default_rng(1).random(50) < 0.4
    pairs = [(p > n) + 0.5 * (p == n) for p in scores[positive] for n in scores[~positive]]
    assert auroc(scores, positive) == pytest.approx(np.mean(pairs))
    with pytest.raises(BadInput, match="no ROC curve"):
        auroc(scores, np.ones(50))


def test_sets_that_cannot_be_compared() -> None:
    for a, b in [(normal(9, 3), normal(9, 4)), (normal(9, 3), normal(3, 3)), (normal(9, 3), np.full((9, 3), np.nan))]:
        with pytest.raises(BadInput):
            neighbours(a, b)
    with pytest.raises(BadInput, match="cannot be compared"):
        frechet(normal(1, 3), normal(9, 3))


def opened(path: Path, shape: tuple[int, int, int] = (1, 28, 28)) -> Judge:
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


def test_eval_judges_samples(call, digits_bundle: Path) -> None:
    arguments = ["--data", "digits", "--provider", "cpu", "--density", "pca", "--judge", shipped("mnist")]
    outcome = call("eval", digits_bundle, *arguments, "--count", "200", "--json")
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)
    assert found["density"] == "pca" and found["judged"] == 200 and found["count"] == 359
    assert found["judge"]["sha256"] == SHIPPED["mnist"]
    for key in ("midpoints", "reconstructions"):
        assert set(found[key]) == FIGURES
    for key in ("samples", "train"):
        assert set(found[key]) == FIGURES | {"log_likelihood"}
    assert 0 < found["train"]["frechet"] < found["reconstructions"]["frechet"] < found["samples"]["frechet"]
    assert found["train"]["two_sample"] == pytest.approx(0.5, abs=0.15)
    again = call("eval", digits_bundle, *arguments, "--count", "200", "--json", "--batch-size", "17")
    assert json.loads(again.out)["samples"] == pytest.approx(found["samples"], rel=1e-3, abs=0.02)
    table = call("eval", digits_bundle, *arguments, "--limit", "60")
    assert table.code == 0 and "reconstructions" in table.out and "pca, 60 images a set" in table.out
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
    command = [sys.executable, "-c", code, "eval", *map(str, arguments), "--judge", str(shipped("mnist"))]
    done = subprocess.run(command, capture_output=True, text=True)
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
