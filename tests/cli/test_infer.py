"""Options of `aepipe infer` that all tasks share."""

from __future__ import annotations

from pathlib import Path

import numpy as np

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
