"""An option that would have no effect is refused, in a sentence that says to what it belongs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.commands import refused_alone

CASES = {
    "eval --seed": (["eval", "BUNDLE", "--data", "digits", "--seed", "0"], "--seed belongs to a corruption"),
    "eval --normal": (
        ["eval", "BUNDLE", "--data", "digits", "--normal", "3", "--density", "pca", "--seed", "1"],
        "--seed",
    ),
    "eval --count": (["eval", "BUNDLE", "--data", "digits", "--count", "20"], "--count belongs to judged samples"),
    "export": (["export", "RUN", "--max-drop", "0.01"], "--max-drop belongs to a precision beside fp32"),
    "triton": (["export", "RUN", "--layout", "triton", "--max-drop", "0.5"], "--max-drop"),
    "overwrite": (["train", "--data", "digits", "--overwrite"], "--overwrite belongs to a folder that is named"),
    "image size": (["train", "--data", "ARRAY", "--image-size", "20"], "only image files are resized"),
    "channels": (["train", "--data", "ARRAY", "--channels", "3"], "only image files are resized"),
    "split": (
        ["infer", "encode", "BUNDLE", "ARRAY", "--split", "train", "-o", "x.npy"],
        "data with splits, not to images",
    ),
    "splits": (
        ["infer", "interpolate", "BUNDLE", "ARRAY", "ARRAY", "--split", "test", "-o", "x.npy"],
        "--split belongs",
    ),
    "eval --split": (["eval", "BUNDLE", "--data", "ARRAY", "--split", "test"], "--split belongs to data with splits"),
    "train --split": (["train", "--data", "ARRAY", "--split", "train"], "--split belongs to data with splits"),
    "layout": (["infer", "score", "BUNDLE", "digits", "--layout", "NHWC", "-o", "x.csv"], "arrays, not to digits"),
    "layout of files": (["infer", "encode", "BUNDLE", "FOLDER", "--layout", "NHW", "-o", "x.npy"], "arrays, not to"),
    "eval --layout": (["eval", "BUNDLE", "--data", "FOLDER", "--layout", "NHW"], "--layout belongs to arrays"),
    "train --layout": (["train", "--data", "FOLDER", "--layout", "NHW"], "--layout belongs to arrays"),
    "clip": (
        ["infer", "encode", "--clip", "BUNDLE", "ARRAY", "-o", "x.npy"],
        "--clip belongs to a model of raw values",
    ),
    "eval --clip": (["eval", "BUNDLE", "--data", "ARRAY", "--clip"], "--clip belongs to a model of raw values"),
    "config": (["train", "--resume", "RUN", "--config", "CONFIG"], "a resumed run keeps its own options, --lr cannot"),
    "join": (["infer", "--provider", "cpu", "join", "codes.npy"], "--provider means nothing to join"),
    "join a shard": (["infer", "--shard", "1/2", "join", "codes.npy"], "--shard means nothing to join"),
    "plugins": (["plugins", "--json", "new", "wavelet"], "--json belongs to the list of plugins"),
    "path": (["infer", "interpolate", "BUNDLE", "digits", "-o", "x.npy", "--density", "pca"], "takes no density"),
    "explore": (["explore", "BUNDLE", "-o", "x.html", "--cdn", "--runtime", "."], "--cdn leaves the runtime out"),
}


@pytest.mark.parametrize("case", CASES)
def test_an_option_without_effect_is_refused(case: str, capsys, kept_bundle: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("images.npy", np.zeros((30, 28, 28), np.uint8))
    Path("files").mkdir()
    Image.fromarray(np.zeros((28, 28), np.uint8)).save("files/0.png")
    Path("config.toml").write_text("lr = 0.001\n", encoding="utf-8")
    before = sorted(tmp_path.rglob("*"))
    words, sentence = CASES[case]
    places = {
        "BUNDLE": kept_bundle,
        "RUN": "runs/none",
        "ARRAY": "images.npy",
        "CONFIG": "config.toml",
        "FOLDER": "files",
    }
    assert sentence in refused_alone(capsys, *(places.get(word, word) for word in words))
    assert sorted(tmp_path.rglob("*")) == before


def test_the_same_options_where_they_have_an_effect(call, kept_bundle: Path) -> None:
    words = ["eval", kept_bundle, "--data", "digits", "--limit", 8, "--provider", "cpu", "--json"]
    assert call(*words, "--seed", 1, "--corrupt", "gaussian", "--split", "test").code == 0
    assert call(*words).code == 0


def test_one_of_two_inputs_is_enough(call, kept_bundle: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.zeros((1, 28, 28), np.uint8))
    words = ["infer", "interpolate", kept_bundle, "digits", tmp_path / "one.npy", "-o", tmp_path / "x.npy"]
    done = call(*words, "--split", "train", "--layout", "NHW", "--provider", "cpu")
    assert done.code == 0, done.err
