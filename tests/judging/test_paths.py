"""Paths between codes, judged: class at the middle, length and largest step."""

from __future__ import annotations

from pathlib import Path

import aepipe
import numpy as np
import onnx
import pytest
from aepipe.images.data import open_images
from aepipe.images.pixels import as_float
from aepipe.judging.judge import Judge, shipped
from aepipe.judging.paths import judge_paths
from aepipe.runtime.model import Model
from aepipe.runtime.providers import provider
from onnx import TensorProto, helper

SHAPE = (1, 28, 28)


def flat_judge(path: Path, logits: list[int | str] | None = None) -> Judge:
    """A judge whose features are the pixels. `logits` is the shape that its graph gives for logits, which are the first pixels."""
    nodes = [helper.make_node("Flatten", ["image"], ["features"])]
    outputs = [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 784])]
    constants = []
    if logits is not None:
        nodes.append(helper.make_node("Slice", ["features", "start", "end", "axis"], ["logits"]))
        outputs.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, logits))
        numbers = {"start": 0, "end": logits[1], "axis": 1}
        constants = [helper.make_tensor(name, TensorProto.INT64, [1], [value]) for name, value in numbers.items()]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", *SHAPE])
    graph = helper.make_graph(nodes, "judge", [image], outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return Judge(path, SHAPE, provider("cpu"), threads=1)


@pytest.fixture(scope="module")
def model(kept_bundle: Path):
    with aepipe.load(kept_bundle, "cpu", threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return as_float(open_images("digits", limit=40).read(np.arange(40)))


@pytest.mark.parametrize(("path", "density"), [("linear", None), ("slerp", None), ("density", "pca")])
def test_length_and_largest_step_are_those_of_the_interpolation(
    path: str, density: str | None, model: Model, images: np.ndarray, tmp_path: Path
) -> None:
    found = judge_paths(model, flat_judge(tmp_path / "flat.onnx"), model.encode(images[:2]), ["pca"])
    assert list(found) == [("linear", None), ("slerp", None), ("density", "pca")]
    strip = model.interpolate(images[:1], images[1:2], 9, path, density)[0].reshape(9, -1).astype(np.float64)
    steps, chord = np.linalg.norm(np.diff(strip, axis=0), axis=1), np.linalg.norm(strip[-1] - strip[0])
    wanted = {"pairs": 1, "length": steps.sum() / chord, "largest_step": steps.max() / chord}
    assert found[path, density] == pytest.approx(wanted, rel=1e-3), "a judge without logits has no classes"
    assert wanted["length"] >= 1


def test_pairs_are_of_one_class_and_the_middle_is_looked_at(model: Model, images: np.ndarray) -> None:
    judge = Judge(shipped("mnist"), SHAPE, model.provider, threads=1)
    codes = model.encode(images)
    _, classes = judge.seen(model.decode(codes))
    assert classes is not None and classes.dtype == np.int64 and len(np.unique(classes)) > 1
    found = judge_paths(model, judge, codes, model.densities, seed=1)
    assert {row["pairs"] for row in found.values()} == {len(images) - len(np.unique(classes))}
    assert all(0 <= row["class_kept"] <= 1 and 1 / 8 <= row["largest_step"] <= row["length"] for row in found.values())
    assert found == judge_paths(model, judge, codes, model.densities, seed=1)
    for label in np.unique(classes):
        two = np.flatnonzero(classes == label)[:2]
        if len(two) == 2:
            (row,) = (row for (way, _), row in judge_paths(model, judge, codes[two]).items() if way == "slerp")
            middle = model.interpolate(images[two[:1]], images[two[1:]], 3, "slerp")[:, 1]
            assert row["class_kept"] == (judge.seen(middle)[1] == label)


def test_nothing_to_follow_has_no_figures(model: Model, images: np.ndarray, tmp_path: Path) -> None:
    codes = model.encode(images)
    judge = flat_judge(tmp_path / "flat.onnx")
    assert judge_paths(model, judge, codes[:1])["linear", None] == {"pairs": 0}
    assert judge_paths(model, judge, codes[[0, 0, 0]])["linear", None] == {"pairs": 2}, "all chords are 0"


@pytest.mark.parametrize(("logits", "known"), [(["batch", 10], True), (["batch", 1], False), (None, False)])
def test_logits_make_classes(logits: list[int | str] | None, known: bool, tmp_path: Path) -> None:
    judge = flat_judge(tmp_path / "flat.onnx", logits)
    images = np.random.default_rng(0).random((5, *SHAPE), dtype=np.float32)
    features, classes = judge.seen(images)
    np.testing.assert_array_equal(features, judge(images))
    assert (classes is not None) == known
    if classes is not None:
        np.testing.assert_array_equal(classes, images.reshape(5, -1)[:, :10].argmax(1))
