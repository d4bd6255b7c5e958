"""Every command says in one line what it took as input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def inputs(err: str) -> list[str]:
    return [line for line in err.splitlines() if line.startswith("input: ")]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Four files, of which the second and the third cannot be read, and one of another ending."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for k in range(4):
        Image.fromarray(np.full((28, 28), 60 * k, np.uint8)).save(folder / f"{k}.png")
    for k in (1, 2):
        (folder / f"{k}.png").write_text("no image")
    (folder / "photo.heic").write_text("x")
    return folder


@pytest.mark.parametrize(
    ("task", "out"),
    [("reconstruct", "out.png"), ("denoise", "out.npy"), ("encode", "out.csv"), ("score", "out.csv")],
)
def test_tasks_say_their_input(task: str, out: str, infer, tmp_path: Path) -> None:
    said = inputs(infer(task, "digits", "--limit", 3, "-o", tmp_path / out).err)
    assert said == ["input: digits, 3 of 359 grey 28×28 images of the built-in data set, test split"]


def test_tasks_with_other_inputs(infer, tmp_path: Path) -> None:
    assert len(inputs(infer("interpolate", "digits", "digits[:1]", "-o", tmp_path / "out.png").err)) == 2
    infer("encode", "digits[:5]", "-o", tmp_path / "codes.npy")
    assert inputs(infer("decode", tmp_path / "codes.npy", "-o", tmp_path / "out.png").err) == [
        f"input: {tmp_path}/codes.npy, 5 float32 codes of 8 numbers"
    ]
    assert inputs(infer("sample", "-o", tmp_path / "out.npy").err) == []


def test_eval_says_it_to_programs_too(call, digits_bundle: Path, photos: Path) -> None:
    outcome = call("eval", digits_bundle, "--data", photos, "--skip-bad", "--json", "--provider", "cpu")
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)["input"]
    assert (found["kind"], found["count"], found["channels"], found["split"]) == ("folder", 4, 1, None)
    assert found["left_out"] == {"file with other endings (.heic)": 1}
    (line,) = inputs(outcome.err)
    assert line.endswith("in a folder, read as grey 28×28; left out: 1 file with other endings (.heic)")


def test_explore_and_export_say_their_input(call, digits_bundle: Path, digits_run, tmp_path: Path) -> None:
    said = call("explore", digits_bundle, "--images", "digits", "--cdn", "-o", tmp_path / "page.html")
    assert said.code == 0 and len(inputs(said.err)) == 1
    said = call(
        "export", digits_run.directory, "-o", tmp_path / "b", "--precision", "fp32,int8", "--calibrate", "digits"
    )
    assert len(inputs(said.err)) == 2 and "train split" in inputs(said.err)[0] and "test split" in inputs(said.err)[1]


def test_train_says_its_input_and_takes_no_test_images(call, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for k in range(9):
        folder = tmp_path / "data" / ("Train" if k < 6 else "VAL")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(folder / f"{k}.png")
    small = ["--encoder", "mlp:hidden=4", "--decoder", "mlp:hidden=4", "--epochs", 1, "--density", "gaussian"]
    outcome = call("train", "--data", tmp_path / "data", *small, "-o", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    assert inputs(outcome.err) == [
        f"input: {tmp_path}/data, 6 grey 8×8 images in its folder Train/, train split; "
        "left out: 1 folder of other splits (VAL/)"
    ]
    assert json.loads((tmp_path / "run" / "run.json").read_text())["data"]["count"] == 6


def test_rows_stay_attributable(infer, photos: Path, tmp_path: Path) -> None:
    said = infer("encode", photos, "--skip-bad", "-o", tmp_path / "codes.npz").err
    assert "skipped 2 bad images: index 1–2\n" in said
    with np.load(tmp_path / "codes.npz") as arrays:
        assert arrays["indices"].tolist() == [0, 3] and arrays["names"].tolist() == ["0.png", "3.png"]
        assert len(arrays["codes"]) == 2
    array = np.zeros((5, 28, 28), np.float32)
    array[[0, 2, 4]] = np.nan
    np.save(tmp_path / "images.npy", array)
    said = infer("reconstruct", tmp_path / "images.npy", "--skip-bad", "-o", tmp_path / "copies.npz").err
    assert "skipped 3 bad images: index 0, 2, 4\n" in said
    with np.load(tmp_path / "copies.npz") as arrays:
        assert arrays.files == ["images", "indices"] and arrays["indices"].tolist() == [1, 3]


def test_hints_name_options_of_the_command_line(call, digits_bundle: Path, photos: Path, tmp_path: Path) -> None:
    outcome = call("infer", "encode", digits_bundle, photos, "--provider", "cpu", "-o", tmp_path / "codes.npy")
    assert outcome.code == 2 and "--skip-bad" in outcome.err and "skip_bad" not in outcome.err


def test_fit_takes_numbers_of_numpy(tmp_path: Path) -> None:
    import aepipe

    wanted = {
        "limit": np.int64(40),
        "image_size": np.array([8, 8]),
        "channels": np.uint8(1),
        "skip_bad": np.bool_(True),
    }
    wanted |= {"seed": np.int64(1), "epochs": np.uint8(1), "latent_dim": np.int32(2)}
    paths = []
    for k, image in enumerate(np.random.default_rng(0).integers(0, 256, (50, 9, 9), dtype=np.uint8)):
        paths.append(tmp_path / f"{k}.png")
        Image.fromarray(image).save(paths[-1])
    small = {"encoder": "mlp:hidden=4", "decoder": "mlp:hidden=4", "show": False}
    run = aepipe.fit(paths, out=tmp_path / "run", **small, **wanted)
    assert run.config["data"]["count"] == 40 and run.shape == (1, 8, 8)
