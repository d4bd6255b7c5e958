"""Damaged bundles: one sentence that names the thing, one that names the way out."""

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

from tests.helpers.bundles import edit_manifest


@pytest.fixture
def bundle(kept_bundle: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return shutil.copytree(kept_bundle, tmp_path / "bundle")


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


def test_damaged_graphs(call, bundle: Path, kept_bundle: Path) -> None:
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


def test_graphs_of_different_trainings(call, digits_bundle: Path, other_bundle: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(digits_bundle, tmp_path / "bundle"))
    shutil.copy(other_bundle / "decoder.onnx", bundle / "decoder.onnx")
    refuse_bundle(call, bundle, "belongs to another training than the rest of the bundle")
    edit_manifest(bundle, lambda m: m["graphs"][1].update(sha256=sha256(bundle / "decoder.onnx")))
    refuse_bundle(call, bundle, "belongs to another training than the rest of the bundle")


def test_graphs_that_changed_places(call, bundle: Path) -> None:
    """The same training, and the manifest agrees with the files: but the encoder is where the decoder should be."""
    edit_manifest(bundle, lambda m: m["graphs"][1].update(file="encoder.onnx", sha256=m["graphs"][0]["sha256"]))
    refuse_bundle(call, bundle, "has role encoder, but the manifest says decoder")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(format=3), "has format 3, this aepipe reads up to 2"),
        (lambda m: m.update(format="new"), "is broken: format: Expected `int`, got `str`"),
        (lambda m: m.pop("latent"), "is broken: Object missing required field `latent`"),
        (lambda m: m.update(latent=-4), "is broken: latent: Expected `int` >= 1"),
        (lambda m: m.update(latent=5), "has latent 8, but the manifest says 5"),
        (lambda m: m["image"].update(shape=[28, 28]), "is broken: image.shape: Expected `array` of length 3, got 2"),
        (lambda m: m["image"].update(shape=[1, 28, 27]), "has image [1, 28, 28], but the manifest says [1, 28, 27]"),
        (lambda m: m.update(graphs={}), "is broken: graphs: Expected `array`, got `object`"),
        (lambda m: m.update(graphs=[]), "has no decoder graph"),
        (lambda m: m["graphs"][1].update(file="../../secret.onnx"), "leads out of the bundle"),
        (lambda m: m["graphs"][1].update(file="/etc/hostname"), "leads out of the bundle"),
        (lambda m: m["graphs"][1].update(file=7), "is broken: graphs[1].file: Expected `str`, got `int`"),
        (lambda m: m["graphs"][1].update(inputs={"z": {"shape": ["batch", 8]}}), "the decoder has no input 'latent'"),
        (lambda m: m["graphs"][2]["inputs"]["noise"].update(shape=["batch", 9]), "has input 'noise' [8], but"),
        (lambda m: m.update(densities=[]), "has no density"),
        (lambda m: m.update(densities=["nosuch"]), "has no sample graph of density 'nosuch'"),
        (lambda m: m.update(name="a\nb"), "is broken: name: Expected printable text"),
        (lambda m: m.update(trained="digits"), "is broken: trained: Expected `object`, got `str`"),
    ],
)
def test_broken_manifests(change: Callable[[Any], Any], message: str, call, bundle: Path) -> None:
    edit_manifest(bundle, change)
    refuse_bundle(call, bundle, message, "upgrade aepipe" if "format 3" in message else "")


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

    edit_manifest(bundle, grow)
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


@pytest.mark.slow
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mutated_manifests_give_bad_input_or_work(data: st.DataObject, kept_bundle: Path, bundle: Path, call) -> None:
    manifest = json.loads((kept_bundle / "manifest.json").read_text())
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
