"""Options of `aepipe infer` that all tasks share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.helpers.images import blobs


def test_options_before_and_after_the_task(call, kept_bundle: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", blobs(10, size=(7, 7), times=4)[:, 0])
    before = ["--provider", "cpu", "--limit", 3, "--batch-size", 2, "--threads", 1]
    for name, arguments in {
        "before": [*before, "encode", kept_bundle, tmp_path / "images.npy"],
        "after": ["encode", *before, kept_bundle, tmp_path / "images.npy"],
        "later wins": ["--limit", 5, "--provider", "cpuu", "encode", kept_bundle, tmp_path / "images.npy", *before],
    }.items():
        outcome = call("infer", *arguments, "-o", tmp_path / "codes.npy")
        assert outcome.code == 0, (name, outcome.err)
        assert len(np.load(tmp_path / "codes.npy")) == 3, name


def test_split_and_auto(call, kept_bundle: Path, tmp_path: Path) -> None:
    codes = {}
    for split in ("train", "test"):
        outcome = call("infer", "encode", kept_bundle, "digits", "--split", split, "-o", tmp_path / "c.npy")
        assert outcome.code == 0, outcome.err
        codes[split] = np.load(tmp_path / "c.npy")
    assert (len(codes["train"]), len(codes["test"])) == (1438, 359)


@pytest.mark.parametrize(
    ("task", "given"),
    [
        ("sample", "--split train"),
        ("sample", "--limit 3"),
        ("sample", "--skip-bad"),
        ("decode", "--split test"),
        ("decode", "--skip-bad"),
        ("interpolate", "--shard 1/2"),
    ],
)
def test_shared_options_that_mean_nothing_to_a_task(
    task: str, given: str, call, kept_bundle: Path, tmp_path: Path
) -> None:
    words = [kept_bundle, *([] if task == "sample" else ["digits"]), "-o", tmp_path / "out.npy"]
    for line in (["infer", *given.split(), task, *words], ["infer", task, *words, *given.split()]):
        outcome = call(*line)
        assert outcome.code == 2 and given.split()[0] in outcome.err and "Traceback" not in outcome.err
        assert not list(tmp_path.iterdir())
    if task != "interpolate":
        assert given.split()[0] not in call("infer", task, "--help").out


def test_a_seed_without_a_corruption(infer, tmp_path: Path) -> None:
    assert "--corrupt" in infer("denoise", "digits", "--seed", 1, "-o", tmp_path / "out.npy", code=2).err


@pytest.mark.parametrize(("data", "warned"), [("digits", False), ("train", True)])
def test_calibrating_on_the_training_data_warns(
    data: str, warned: bool, digits_bundle: Path, call, tmp_path: Path
) -> None:
    split = ["--split", "train"] if data == "train" else []
    out = ["-o", tmp_path / "usual.json", "--limit", 200, "--provider", "cpu"]
    outcome = call("infer", "score", digits_bundle, "--calibrate", "digits", *split, *out)
    assert outcome.code == 0 and ("warning: these images trained the bundle" in outcome.err) == warned
