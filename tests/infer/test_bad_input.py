"""Bad input to inference: one sentence that names the thing, one that names the way out, and nothing is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aepipe.files.partial import PREFIX
from PIL import Image

from tests.helpers.folders import listing


@pytest.fixture
def refused(call, kept_bundle: Path, tmp_path: Path):
    """`aepipe infer TASK` must fail in one or two sentences, write nothing and leave what OUT holds."""

    def inner(task: str, *arguments: object, out: str = "out.npy", bundle: Path = kept_bundle, code: int = 2) -> str:
        path = tmp_path / "results" / out
        results = tmp_path / "results"
        results.mkdir(exist_ok=True)
        for content in (None, "precious"):
            file = content is not None and path.suffix and path.parent == results and not path.is_dir()
            if file:
                path.write_text(content)
            before = visible(results)
            outcome = call("infer", task, "--provider", "cpu", bundle, *arguments, "-o", path)
            assert outcome.code == code, outcome
            assert outcome.out == ""
            lines = [
                line for line in outcome.err.splitlines() if not line.startswith(("note: ", "input: ", "continues: "))
            ]
            assert lines[0].startswith("error: ") and len(lines) <= 2, outcome.err
            assert len(lines) == 1 or lines[1].startswith("hint: ")
            assert visible(results) == before
            assert not file or path.read_text() == content
        return "\n".join(lines)

    return inner


def visible(folder: Path) -> list[str]:
    """All but what is kept of a job to a folder, to be continued with --skip-bad."""
    return [name for name in listing(folder) if PREFIX not in name]


def ok_images(count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).random((count, 28, 28), dtype=np.float32)


def changed(value: float) -> np.ndarray:
    images = ok_images()
    images[1, 2, 3] = value
    return images


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (changed(np.nan), "image 1 of"),
        (changed(np.inf), "image 1 of"),
        (changed(1.5), "outside 0..1"),
        (changed(-0.5), "outside 0..1"),
        (255 * ok_images(), "divide by 255"),
        (np.full((3, 28, 28), "x"), "holds <U1 values"),
        (np.array([None] * 3, object), "pickled objects are never read"),
        (ok_images().astype(complex), "holds complex128 values"),
        ((255 * ok_images()).astype(np.int64), "holds int64 values"),
        (np.zeros((3, 28, 27), np.uint8), "the model takes images of shape [1, 28, 28]"),
        (np.zeros((3, 3, 28, 28), np.uint8), "the model takes images of shape [1, 28, 28]"),
        (np.zeros((28, 28), np.uint8), "the model takes images of shape [1, 28, 28]"),
        (np.zeros((0, 28, 28), np.uint8), "there are no images"),
        (np.zeros((3, 0, 28), np.uint8), "holds no pixels"),
    ],
)
def test_bad_arrays(images: np.ndarray, expected: str, refused, tmp_path: Path) -> None:
    path = tmp_path / "images.npy"
    np.save(path, images, allow_pickle=True)
    said = refused("encode", path)
    assert expected in said and str(path) in said


@pytest.mark.parametrize("task", ["reconstruct", "denoise", "interpolate", "score"])
def test_every_task_refuses_nan(task: str, refused, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", changed(np.nan))
    out = "out.csv" if task == "score" else "out.png"
    assert "NaN" in refused(task, tmp_path / "images.npy", out=out)
    if task in ("reconstruct", "denoise"):
        refused(task, tmp_path / "images.npy", out="folder")


def test_a_late_nan_leaves_no_result_behind(refused, tmp_path: Path) -> None:
    images = np.zeros((300, 28, 28), np.float32)
    images[299] = np.nan
    np.save(tmp_path / "images.npy", images)
    for out in ("out.npy", "out.npz", "folder"):
        assert "image 299" in refused("reconstruct", tmp_path / "images.npy", "--batch-size", 50, out=out)
    refused("score", tmp_path / "images.npy", "--batch-size", 50, out="out.csv")


def test_bad_files(refused, tmp_path: Path) -> None:
    np.save(tmp_path / "ok.npy", ok_images())
    (tmp_path / "cut.npy").write_bytes((tmp_path / "ok.npy").read_bytes()[:2000])
    np.savez(tmp_path / "ok.npz", ok_images())
    (tmp_path / "cut.npz").write_bytes((tmp_path / "ok.npz").read_bytes()[:2000])
    (tmp_path / "fake.png").write_text("no image")
    (tmp_path / "text.txt").write_text("no image")
    for name in ("cut.npy", "cut.npz", "fake.png", "text.txt"):
        assert name in refused("encode", tmp_path / name)
    assert "there is no file or folder" in refused("encode", tmp_path / "missing.npy")
    (tmp_path / "empty").mkdir()
    assert "there are no images in the folder" in refused("encode", tmp_path / "empty")
    assert "neither a data set nor a path" in refused("encode", "digts")
    assert "the input or the slice of it is empty" in refused("encode", "digits[9000:]")


def test_bad_images_in_a_folder(refused, call, kept_bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(np.zeros((40, 30), np.uint8)).save(folder / "a.png")
    (folder / "b.jpg").write_text("no image")
    said = refused("reconstruct", folder, out="copies")
    assert str(folder / "b.jpg") in said and "--skip-bad" in said
    (folder / "a.png").write_bytes((folder / "a.png").read_bytes()[:40])
    outcome = call("infer", "reconstruct", "--skip-bad", kept_bundle, folder, "-o", tmp_path / "copies")
    assert outcome.code == 2 and "a.png" in outcome.err and "b.jpg" in outcome.err, "both are named before it gives up"
    assert "none of the 2 images" in outcome.err and not (tmp_path / "copies").exists()


@pytest.mark.parametrize(
    ("task", "out"),
    [
        ("encode", "out.png"),
        ("encode", "folder"),
        ("score", "out.npy"),
        ("reconstruct", "out.csv"),
        ("reconstruct", "out.webp"),
        ("denoise", "out.gif"),
        ("interpolate", "out.csv"),
    ],
)
def test_wrong_endings(task: str, out: str, refused) -> None:
    assert "this command does not write" in refused(task, "digits", out=out)


def test_places_that_cannot_be_written(refused, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "file").write_text("x")
    assert "is a file" in refused("encode", "digits", out="file/codes.npy")
    (tmp_path / "results" / "full").mkdir()
    (tmp_path / "results" / "full" / "other.txt").write_text("x")
    assert "is not empty" in refused("reconstruct", "digits", out="full")
    (tmp_path / "results" / "taken.npy").mkdir()
    assert "is a folder that exists" in refused("encode", "digits", out="taken.npy")
    assert "File name too long" in refused("encode", "digits", out=f"{'long' * 100}/codes.npy")


def test_bad_codes(refused, tmp_path: Path) -> None:
    arrays: dict[str, Any] = {
        "width": np.zeros((3, 5), np.float32),
        "dimensions": np.zeros(8, np.float32),
        "scalar": np.float32(1),
        "nan": np.full((3, 8), np.nan, np.float32),
        "none": np.zeros((0, 8), np.float32),
        "text": np.full((3, 8), "x"),
        "objects": np.array([[None] * 8] * 3),
        "late": np.concatenate([np.zeros((200, 8)), np.full((1, 8), np.inf)]).astype(np.float32),
    }
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array, allow_pickle=True)
        for out in ("out.npy", "out.png", "folder"):
            if (name, out) == ("late", "out.png"):
                continue  # the sheet shows the first 48, which are fine
            refused("decode", tmp_path / f"{name}.npy", out=out)
    assert "[N, 8] numbers are needed" in refused("decode", tmp_path / "width.npy")
    assert "Python objects" in refused("decode", tmp_path / "objects.npy")
    (tmp_path / "codes.csv").write_text("index,z0\n0,1\n")
    assert "neither .npy nor .npz" in refused("decode", tmp_path / "codes.csv")
    np.savez(tmp_path / "codes.npz", np.zeros((3, 8)))
    (tmp_path / "codes.npz").write_bytes((tmp_path / "codes.npz").read_bytes()[:100])
    assert "holds no codes" in refused("decode", tmp_path / "codes.npz")
    assert "there is no file" in refused("decode", tmp_path / "missing.npy")
    assert "is a folder" in refused("decode", tmp_path)


def test_unknown_names(refused) -> None:
    assert "did you mean 'gaussian'?" in refused("denoise", "digits", "--corrupt", "gausian:sigma=1")
    assert "did you mean 'sigma'?" in refused("denoise", "digits", "--corrupt", "gaussian:sigm=1")
    assert "sigma must not be negative" in refused("denoise", "digits", "--corrupt", "gaussian:sigma=-1")
    assert "did you mean 'pca'?" in refused("score", "digits", "--density", "pac", out="out.csv")
