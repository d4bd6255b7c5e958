"""What a bundle may be called, what it says of the data, and what it keeps for itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import aepipe
import numpy as np
import pytest
from aepipe.bundle.reader import Bundle
from aepipe.errors import BadInput
from aepipe.workshop.export.places import bundle_name, data_name
from aepipe.workshop.run import Run
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.helpers.bundles import manifest_of
from tests.helpers.commands import refused
from tests.helpers.folders import contents, listing
from tests.helpers.images import blobs
from tests.helpers.networks import Identity, decoder_of, encoder_of
from tests.helpers.settings import SMALL

NAMES = ["with space", "ünï–código", "日本語", "🙂", ".hidden", "'quoted'", '"quoted"', "a`b``c", "-o", "$(x)", "a|b",
         "#1", "[x](y)", "<b>&amp;", "back\\slash", "%s{}", "a'; import os #", "x" * 200]  # fmt: skip
BAD_NAMES = ["a\nb", "tab\there", "esc\x1b[31m", "\u202egnp.exe", "zero\u200bwidth", "\x7f"]


@pytest.fixture(scope="module")
def small_run(tmp_path_factory) -> Run:
    return aepipe.fit(blobs(), out=tmp_path_factory.mktemp("runs") / "small", **SMALL)


def example_of(bundle: Path) -> str:
    return (bundle / "README.md").read_text().partition("```python\n")[2].partition("```")[0]


@pytest.mark.parametrize("name", NAMES)
def test_a_bundle_may_have_any_name(small_run: Run, tmp_path, name: str):
    out = small_run.export(tmp_path / name, densities="gaussian", show=False)
    assert Bundle(out).name == name and aepipe.load(out, "cpu").encode(blobs()).shape == (80, 2)
    compile(example_of(out), "card", "exec")
    code = example_of(out) + "\nassert reconstruction.shape == image.shape"
    if name in ("'quoted'", '"quoted"', "back\\slash"):
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


def test_a_path_that_is_not_utf_8(tmp_path):
    folder = Path(os.fsdecode(os.fsencode(tmp_path / "caf") + b"\xe9"))
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system has no such names")
    images = folder / "pictures"
    images.mkdir()
    for k, picture in enumerate(blobs(20)[:, 0]):
        Image.fromarray(picture).save(images / f"{k}.png")
    run = aepipe.fit(str(images), out=folder / "run", **{**SMALL, "epochs": 2})  # two epochs draw a curve
    assert manifest_of(run.export(tmp_path / "one", show=False))["trained"]["data"] == "pictures"
    assert aepipe.resume(run.directory, epochs=3, show=False).history[-1]["epoch"] == 3
    own = aepipe.fit(str(images.rename(folder / os.fsdecode(b"p\xe9"))), out=folder / "own", **SMALL)
    assert own.config["data"]["spec"] == str(folder / os.fsdecode(b"p\xe9"))
    out = own.export(tmp_path / "two", show=False)
    assert manifest_of(out)["trained"]["data"] == "p\\xe9" and "p\\xe9" in (out / "README.md").read_text()
    assert aepipe.resume(folder / "own", epochs=2, show=False).finished
    assert bundle_name(folder) == "caf\\xe9"


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_cannot_be_shown_are_refused_before_any_work(small_run: Run, tmp_path, capsys, name: str):
    said = refused(capsys, "export", small_run.directory, "-o", tmp_path / name)
    assert "cannot be called" in said and "\x1b" not in said and "\u202e" not in said
    with pytest.raises(BadInput, match="cannot be called"):
        aepipe.export_modules(encoder_of(Identity()), decoder_of(Identity()), blobs(), tmp_path / name, show=False)
    assert not list(tmp_path.iterdir())


@given(st.text(st.characters(codec=None, exclude_characters="/\0"), min_size=1, max_size=60))
def test_every_name_is_taken_or_refused(name: str):
    try:
        given_back = bundle_name(Path("/somewhere") / name)
    except BadInput as error:
        assert error.message.isprintable()
    else:
        given_back.encode()
        assert given_back == Path(os.path.normpath(f"/somewhere/{name}")).name or not name.isprintable()


@pytest.mark.parametrize(
    ("spec", "dataset", "said"),
    [
        ("/home/alice/secret-study.npy", False, "secret-study.npy"),
        ("/home/alice/study/", False, "study"),
        ("/home/alice/study/[10:20]", False, "study[10:20]"),
        (r"C:\Users\alice\study.npy", False, "study.npy"),
        ("..", False, "images"),
        ("~", False, "images"),
        ("array", False, "array"),
        ("digits[:60]", True, "digits[:60]"),
        ("mnist:only=3/8", True, "mnist:only=8"),
        ("theirs:folder=/home/alice/x,size=3", True, "theirs:folder=x,size=3"),
        ("/a/new\nline\x1b", False, "new\\nline\\x1b"),
    ],
)
def test_the_name_of_the_data(spec: str, dataset: bool, said: str):
    assert data_name(spec, dataset) == said


def test_paths_stay_in_the_run(tmp_path, call):
    secret = tmp_path / "alice" / "secret-study.npy"
    secret.parent.mkdir()
    np.save(secret, blobs())
    run = aepipe.fit(str(secret), out=tmp_path / "run", **SMALL)
    out = run.export(tmp_path / "out", show=False)
    assert run.config["data"]["spec"] == str(secret)  # to resume by
    assert not [name for name, content in contents(out).items() if b"alice" in content]
    assert manifest_of(out)["trained"]["data"] == "secret-study.npy"
    shown = call("inspect", out).out
    assert "codes of 72 training images, a preview of images that were held out, the name of the data" in shown
    assert "codes of 72 training images" in (out / "README.md").read_text()


def test_a_private_bundle_carries_nothing(digits_run, digits_bundle: Path, tmp_path, call, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call("export", digits_run.directory, "--private").code == 0
    out = Path("exported/autoencoder-d4")
    assert {"codes.npz", "preview.png"} == set(listing(digits_bundle)) - set(listing(out))
    text = (out / "manifest.json").read_text() + (out / "README.md").read_text()
    assert "digits" not in text and "preview.png" not in text and "exported with --private" in text
    m = manifest_of(out)
    assert m["private"] is True and m["trained"]["data"] == "private" and m["name"] == "autoencoder-d4"
    assert "private" not in manifest_of(digits_bundle)
    for graph in m["graphs"]:
        assert (out / graph["file"]).read_bytes() == (digits_bundle / graph["file"]).read_bytes()
    assert "exported with --private" in call("inspect", out).out
    with pytest.raises(BadInput, match=r"was exported as private, without codes"):
        Bundle(out).codes()
    assert "was exported as private, without codes" in refused(capsys, "explore", out, "-o", "page.html")
    model = aepipe.load(out, "cpu")
    with pytest.raises(BadInput, match="exported as private"):
        model.interpolate(np.zeros((1, 28, 28), np.uint8), np.ones((1, 28, 28), np.uint8), path="slerp")
    assert model.sample(2).shape == (2, 1, 28, 28)
    theirs = aepipe.export_modules(
        encoder_of(Identity()), decoder_of(Identity()), blobs(), "theirs", private=True, show=False
    )
    assert manifest_of(theirs)["private"] and not (theirs / "codes.npz").exists()


def test_a_private_bundle_takes_the_place_of_an_open_one(small_run: Run, tmp_path):
    out = small_run.export(tmp_path / "out", show=False)
    small_run.export(out, private=True, show=False)
    assert not (out / "codes.npz").exists() and not (out / "preview.png").exists()
    small_run.export(out, show=False)
    assert (out / "codes.npz").exists() and Bundle(out).codes()[0].shape == (72, 2)
