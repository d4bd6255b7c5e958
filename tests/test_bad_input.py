"""Bad input to inference: one sentence that names the thing, one that names the way out, and nothing is written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aepipe
import numpy as np
import pytest
from aepipe.bundle.manifest import sha256
from aepipe.bundle.reader import Bundle
from aepipe.errors import BadInput
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image


@pytest.fixture
def refused(call, digits_bundle: Path, tmp_path: Path):
    """`aepipe infer TASK` must fail in one or two sentences, write nothing and leave what OUT holds."""

    def inner(task: str, *arguments: object, out: str = "out.npy", bundle: Path = digits_bundle, code: int = 2) -> str:
        path = tmp_path / "results" / out
        results = tmp_path / "results"
        results.mkdir(exist_ok=True)
        for content in (None, "precious"):
            file = content is not None and path.suffix and path.parent == results and not path.is_dir()
            if file:
                path.write_text(content)
            before = sorted(results.rglob("*"))
            outcome = call("infer", task, "--provider", "cpu", bundle, *arguments, "-o", path)
            assert outcome.code == code, outcome
            assert outcome.out == ""
            lines = [line for line in outcome.err.splitlines() if not line.startswith("note: ")]
            assert lines[0].startswith("error: ") and len(lines) <= 2, outcome.err
            assert len(lines) == 1 or lines[1].startswith("hint: ")
            assert sorted(results.rglob("*")) == before
            assert not file or path.read_text() == content
        return outcome.err

    return inner


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
        (np.zeros((28, 28), np.uint8), "2 dimensions"),
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


def test_a_late_nan_leaves_nothing_behind(refused, tmp_path: Path) -> None:
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


def test_bad_images_in_a_folder(refused, call, digits_bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(np.zeros((40, 30), np.uint8)).save(folder / "a.png")
    (folder / "b.jpg").write_text("no image")
    said = refused("reconstruct", folder, out="copies")
    assert str(folder / "b.jpg") in said and "--skip-bad" in said
    (folder / "a.png").write_bytes((folder / "a.png").read_bytes()[:40])
    outcome = call("infer", "reconstruct", "--skip-bad", digits_bundle, folder, "-o", tmp_path / "copies")
    assert outcome.code == 2 and "a.png" in outcome.err and "b.jpg" in outcome.err, "both are named before it gives up"
    assert "none of the 2 images" in outcome.err and not (tmp_path / "copies").exists()


@pytest.mark.parametrize(
    ("task", "out"),
    [
        ("encode", "out.png"),
        ("encode", "folder"),
        ("score", "out.npy"),
        ("reconstruct", "out.csv"),
        ("reconstruct", "out.jpg"),
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
        "dimensions": np.zeros(4, np.float32),
        "scalar": np.float32(1),
        "nan": np.full((3, 4), np.nan, np.float32),
        "none": np.zeros((0, 4), np.float32),
        "text": np.full((3, 4), "x"),
        "objects": np.array([[None] * 4] * 3),
        "late": np.concatenate([np.zeros((200, 4)), np.full((1, 4), np.inf)]).astype(np.float32),
    }
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array, allow_pickle=True)
        for out in ("out.npy", "out.png", "folder"):
            if (name, out) == ("late", "out.png"):
                continue  # the sheet shows the first 48, which are fine
            refused("decode", tmp_path / f"{name}.npy", out=out)
    assert "[N, 4] numbers are needed" in refused("decode", tmp_path / "width.npy")
    assert "Python objects" in refused("decode", tmp_path / "objects.npy")
    (tmp_path / "codes.csv").write_text("index,z0\n0,1\n")
    assert "neither .npy nor .npz" in refused("decode", tmp_path / "codes.csv")
    np.savez(tmp_path / "codes.npz", np.zeros((3, 4)))
    (tmp_path / "codes.npz").write_bytes((tmp_path / "codes.npz").read_bytes()[:100])
    assert "holds no codes" in refused("decode", tmp_path / "codes.npz")
    assert "there is no file" in refused("decode", tmp_path / "missing.npy")
    assert "Is a directory" in refused("decode", tmp_path)


def test_unknown_names(refused) -> None:
    assert "did you mean 'gaussian'?" in refused("denoise", "digits", "--corrupt", "gausian:sigma=1")
    assert "did you mean 'sigma'?" in refused("denoise", "digits", "--corrupt", "gaussian:sigm=1")
    assert "sigma must not be negative" in refused("denoise", "digits", "--corrupt", "gaussian:sigma=-1")
    assert "did you mean 'pca'?" in refused("score", "digits", "--density", "pac", out="out.csv")


@pytest.fixture
def bundle(digits_bundle: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return shutil.copytree(digits_bundle, tmp_path / "bundle")


@pytest.fixture(scope="module")
def other_bundle(digits_run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another training of the same architecture: the same graphs with one bias moved."""
    import torch

    model = digits_run.model()
    with torch.no_grad():
        next(model.decoder.parameters()).add_(0.1)
    images = np.random.default_rng(0).random((64, 1, 28, 28), dtype=np.float32)
    out = tmp_path_factory.mktemp("other") / "other"
    return Path(
        aepipe.export_modules(
            model.encoder, model.decoder, images, out, mean=float(model.mean), std=float(model.std), densities=()
        )
    )


def refuse_bundle(call, bundle: Path, message: str, hint: str = "") -> None:
    out = bundle.parent / "out.npy"
    outcome = call("infer", "sample", bundle, "-o", out, "--provider", "cpu")
    assert outcome.code == 2 and outcome.out == "", outcome
    error, way_out = outcome.err.splitlines()
    assert message in error and hint in way_out and not out.exists()


def test_damaged_graphs(call, bundle: Path, digits_bundle: Path) -> None:
    graph = bundle / "decoder.onnx"
    content = graph.read_bytes()
    graph.unlink()
    refuse_bundle(call, bundle, "decoder.onnx is missing from the bundle", "export it again")
    for damaged in (b"", content[:5000], content[:-1], content[:5000] + b"!" + content[5001:], b"text" * 99):
        graph.write_bytes(damaged)
        refuse_bundle(call, bundle, "was altered or cut off: its SHA-256 is not the manifest's", "export it again")
    graph.unlink()
    graph.mkdir()
    refuse_bundle(call, bundle, "cannot be read: Is a directory")
    graph.rmdir()
    graph.write_bytes(content)
    assert call("infer", "sample", bundle, "-o", bundle.parent / "o.npy", "--provider", "cpu").code == 0
    (bundle / "density/pca/noise.onnx").unlink()
    outcome = call("inspect", bundle, "--json")
    assert outcome.code == 2 and list(json.loads(outcome.out)["problems"]) == ["density/pca/noise.onnx"]
    assert "the bundle is damaged" in outcome.err


def test_graphs_of_different_trainings(call, bundle: Path, other_bundle: Path) -> None:
    shutil.copy(other_bundle / "decoder.onnx", bundle / "decoder.onnx")
    refuse_bundle(call, bundle, "belongs to another training than the rest of the bundle")
    edit(bundle, lambda m: m["graphs"][1].update(sha256=sha256(bundle / "decoder.onnx")))
    refuse_bundle(call, bundle, "belongs to another training than the rest of the bundle")


def test_graphs_that_changed_places(call, bundle: Path) -> None:
    """The same training, and the manifest agrees with the files: but the encoder is where the decoder should be."""
    edit(bundle, lambda m: m["graphs"][1].update(file="encoder.onnx", sha256=m["graphs"][0]["sha256"]))
    refuse_bundle(call, bundle, "has role encoder, but the manifest says decoder")


def edit(bundle: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(format=2), "has format 2, this aepipe reads up to 1"),
        (lambda m: m.update(format="new"), "is broken: format: Expected `int`, got `str`"),
        (lambda m: m.pop("latent"), "is broken: Object missing required field `latent`"),
        (lambda m: m.update(latent=-4), "is broken: latent: Expected `int` >= 1"),
        (lambda m: m.update(latent=5), "has latent 4, but the manifest says 5"),
        (lambda m: m["image"].update(shape=[28, 28]), "is broken: image.shape: Expected `array` of length 3, got 2"),
        (lambda m: m["image"].update(shape=[1, 28, 27]), "has image [1, 28, 28], but the manifest says [1, 28, 27]"),
        (lambda m: m.update(graphs={}), "is broken: graphs: Expected `array`, got `object`"),
        (lambda m: m.update(graphs=[]), "has no decoder graph"),
        (lambda m: m["graphs"][1].update(file="../../secret.onnx"), "leads out of the bundle"),
        (lambda m: m["graphs"][1].update(file="/etc/hostname"), "leads out of the bundle"),
        (lambda m: m["graphs"][1].update(file=7), "is broken: graphs[1].file: Expected `str`, got `int`"),
        (lambda m: m["graphs"][1].update(inputs={"z": {"shape": ["batch", 4]}}), "the decoder has no input 'latent'"),
        (lambda m: m["graphs"][2]["inputs"]["noise"].update(shape=["batch", 9]), "has input 'noise' [4], but"),
        (lambda m: m.update(densities=[]), "has no density"),
        (lambda m: m.update(densities=["nosuch"]), "has no sample graph of density 'nosuch'"),
        (lambda m: m.update(name="a\nb"), "is broken: name: Expected printable text"),
        (lambda m: m.update(trained="digits"), "is broken: trained: Expected `object`, got `str`"),
    ],
)
def test_broken_manifests(change: Callable[[Any], Any], message: str, call, bundle: Path) -> None:
    edit(bundle, change)
    refuse_bundle(call, bundle, message, "upgrade aepipe" if "format 2" in message else "")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"format": 1}', b"[" * 100_000])
def test_manifests_that_are_none(content: bytes, call, bundle: Path) -> None:
    (bundle / "manifest.json").write_bytes(content)
    refuse_bundle(call, bundle, "broken", "export it again")
    assert call("inspect", bundle).code == 2


def test_what_is_no_bundle(call, digits_run, tmp_path: Path) -> None:
    refuse_bundle(call, digits_run.directory, "is a run, not a bundle", f"aepipe export {digits_run.directory}")
    refuse_bundle(call, tmp_path, "is not a bundle: it has no manifest.json")
    refuse_bundle(call, tmp_path / "missing", "there is no bundle", "aepipe export RUN")
    (tmp_path / "file").write_text("x")
    refuse_bundle(call, tmp_path / "file", "is a file, and a bundle is a folder")


def test_readers_ignore_what_they_do_not_know(call, bundle: Path) -> None:
    def grow(manifest: dict[str, Any]) -> None:
        manifest.update(future={"x": 1}, densities=[*manifest["densities"]])
        manifest["graphs"][0]["tuning"] = [1, 2]
        manifest["graphs"].append({**manifest["graphs"][0], "role": "thumbnail", "precision": "fp4"})

    edit(bundle, grow)
    assert call("infer", "sample", bundle, "-o", bundle.parent / "out.npy", "--provider", "cpu").code == 0
    assert call("inspect", bundle).code == 2, "a graph in a role that its file does not have"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["pca", "encoder.onnx"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every entry of a JSON document."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, each in inside for found in places(each, (*path, key)))]


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mutated_manifests_give_bad_input_or_work(data: st.DataObject, digits_bundle: Path, bundle: Path, call) -> None:
    manifest = json.loads((digits_bundle / "manifest.json").read_text())
    for _ in range(data.draw(st.integers(1, 2))):
        *path, last = data.draw(st.sampled_from([place for place in places(manifest) if place]))
        target = manifest
        for key in path:
            target = target[key]
        if data.draw(st.booleans()):
            target[last] = data.draw(JSON)
        else:
            del target[last]
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    images = np.zeros((2, 28, 28), np.uint8)
    try:
        with aepipe.load(bundle, "cpu") as model:
            assert isinstance(model.bundle.task, str)
            assert model.reconstruct(images).shape == (2, 1, 28, 28)
            assert model.sample(2).shape == (2, 1, 28, 28)
            assert model.score(images)["log_density"].shape == (2,)
            Bundle(bundle).codes()
    except BadInput as error:
        assert error.message and "\n" not in error.message
    assert call("inspect", bundle).code in (0, 2)
    assert call("inspect", bundle, "--json").code in (0, 2)
