"""The page of `aepipe explore` at work in Chromium, beside aepipe's own runtime."""

from __future__ import annotations

import re
import shutil
from itertools import pairwise
from pathlib import Path

import aepipe
import numpy as np
import pytest
from aepipe.explore import web_runtime
from aepipe.explore.page import principal_axes, write_explorer
from aepipe.images.data import open_images
from aepipe.workshop.run import Run
from PIL import Image

pytestmark = [pytest.mark.trains, pytest.mark.slow]

IMAGES, CODES = 1e-5, 1e-4


def own(shape: tuple[int, int, int]) -> Image.Image:
    """For the colour model an image of its size, for the grey one a photograph: colour, transparent, another shape."""
    if shape[0] == 3:
        return Image.fromarray(np.random.default_rng(1).integers(0, 256, (*shape[1:], 3), dtype=np.uint8))
    y, x = np.mgrid[:90, :131]
    colours = np.stack([x * 1.9, y * 2.8, 127 + 120 * np.sin(x * y / 300), 255 - y], -1)
    return Image.fromarray(colours.astype(np.uint8), "RGBA")


@pytest.fixture(scope="session")
def classes_bundle(digits_run, tmp_path_factory) -> Path:
    """Digits; the second density is told a class."""
    run = Run(shutil.copytree(digits_run.directory, tmp_path_factory.mktemp("classes") / "run"))
    run.fit_density("gmm:components=2,by_class=true")
    return run.export(run.directory.parent / "bundle", densities=["gaussian", "gmm"], show=False)


@pytest.fixture(scope="module", params=["digits", "colour", "classes"])
def drive(request, web_files, chromium, tmp_path_factory):
    """One drive on a page, and the model that it is of."""
    bundle = request.getfixturevalue(f"{request.param}_bundle")
    folder = tmp_path_factory.mktemp("drive")
    model = aepipe.load(bundle, provider="cpu", threads=1)
    own(model.shape).save(folder / "own.png")
    images = None if request.param == "colour" else "digits[:9]"
    write_explorer(bundle, folder / "page.html", images=images)
    driven = chromium("drive.js", folder / "page.html", folder / "own.png", folder)
    return driven, model, folder


def decodes(model: aepipe.Model, code: np.ndarray, image: np.ndarray) -> bool:
    return np.abs(model.decode(code.reshape(1, -1)).ravel() - image).max() <= IMAGES


def encodes(model: aepipe.Model, image: np.ndarray, code: np.ndarray) -> bool:
    expected = model.encode(image.reshape(1, *model.shape))[0]
    return bool((np.abs(expected - code) <= CODES * np.maximum(1, np.abs(expected))).all())


def test_the_page_decodes_what_the_runtime_decodes(drive):
    driven, model, _ = drive
    seen = [driven[step]["code"] for step in ("start", "dragged", "keyed", "slid", "snapped", "sample", "onTheWay")]
    assert all(np.abs(a - b).max() > 1e-3 for a, b in pairwise(seen))
    for step in ("start", "dragged", "keyed", "slid", "snapped", "sample", "onTheWay"):
        assert decodes(model, driven[step]["code"], driven[step]["image"]), step


def test_the_map_moves_along_two_axes_and_a_slider_along_the_third(drive):
    driven, model, _ = drive
    codes = model.bundle.codes()[0]
    mean, axes, _ = principal_axes(codes)
    spread = ((codes - mean) @ axes.T).std(0)

    def at(step: str) -> np.ndarray:
        return ((driven[step]["code"] - mean) @ axes.T) / spread

    x, y = (float(each.replace("−", "-")) for each in re.findall(r"[−+]?\d\.\d\d", driven["place"]))
    np.testing.assert_allclose(at("dragged")[:2], [x, y], atol=0.006)
    np.testing.assert_allclose(at("dragged")[2:], at("start")[2:], atol=1e-3)
    low, high = (f(((codes - mean) @ axes.T / spread)[:, :2].T, axis=1) for f in (np.min, np.max))
    share = (at("dragged")[:2] - low) / (high - low)
    np.testing.assert_allclose(share, [0.62, 0.59], atol=0.03)  # where the drag ended; the map has a margin
    np.testing.assert_allclose(at("keyed")[:2] - at("dragged")[:2], [0.3, 0], atol=1e-3)
    moved = at("slid") - at("keyed")
    assert 0.5 < moved[2] < 0.7 and np.abs(np.delete(moved, 2)).max() < 1e-3
    assert np.array_equal(driven["snapped"]["code"], codes[driven["nearest"]].astype(np.float32))


def test_samples_are_what_the_density_makes_of_the_noise(drive):
    driven, model, folder = drive
    samples = driven["samples"]
    density = model.bundle.densities[1]
    assert (samples["density"], samples["seed"], round(samples["temperature"], 2)) == (density, 1, 0.7)
    noise = samples["noise"].reshape(-1, model.bundle.noise_features(density))
    assert len(noise) == 24
    assert abs(noise.std() - 0.7) < 4 * 0.7 / np.sqrt(2 * noise.size) and abs(noise.mean()) < 4 * 0.7 / np.sqrt(
        noise.size
    )
    codes = samples["codes"].reshape(len(noise), -1)
    expected = model.from_noise(noise, density, samples["labels"])
    assert (np.abs(expected - codes) <= CODES * np.maximum(1, np.abs(expected))).all()
    images = np.stack(samples["images"])
    assert np.abs(model.decode(codes).reshape(images.shape) - images).max() <= IMAGES
    np.testing.assert_array_equal(driven["sample"]["code"], codes[2])
    (saved,) = folder.glob("*.png.crdownload") if not list(folder.glob("*-1.png")) else folder.glob("*-1.png")
    sheet = np.asarray(Image.open(saved).convert("RGB"))
    c, h, w = model.shape
    scale = max(1, round(96 / max(h, w)))
    assert sheet.shape[:2] == (4 * (h * scale + 4) - 4, 6 * (w * scale + 4) - 4)
    tile = sheet[: h * scale : scale, : w * scale : scale].transpose(2, 0, 1)[:c] / 255
    assert np.abs(tile - images[0].reshape(model.shape)).max() <= 0.51 / 255


def test_samples_have_the_label_that_was_chosen(drive):
    driven, model, _ = drive
    if not model.bundle.takes_label("sample", model.bundle.densities[1]):
        assert driven["samples"]["labels"] is None and "classes" not in driven
        return
    assert len(set(driven["classes"]["labels"])) > 4 and set(driven["sevens"]["labels"]) == {7}
    for samples in (driven["classes"], driven["sevens"]):
        noise, codes = samples["noise"].reshape(24, -1), samples["codes"].reshape(24, -1)
        np.testing.assert_allclose(model.from_noise(noise, "gmm", samples["labels"]), codes, rtol=1e-3, atol=1e-3)


def test_an_image_file_is_encoded_reconstructed_and_judged(drive):
    """Cropped and resized to the pixels that `aepipe infer` sees: exactly, or to one level in 255."""
    driven, model, folder = drive
    image = driven["file"]
    clean = image["clean"].reshape(1, *model.shape)
    expected = open_images(folder / "own.png", shape=model.shape).read(np.arange(1)) / np.float32(255)
    assert np.abs(clean - expected).max() <= (1e-7 if model.shape[0] == 3 else 1.01 / 255)
    assert encodes(model, image["clean"], image["code"])
    restored = model.reconstruct(clean)
    assert np.abs(restored.ravel() - image["reconstruction"]).max() <= IMAGES
    error = float(re.search(r"[\d.]+$", driven["error"])[0])
    assert abs(error - np.square(restored - clean).mean()) <= 0.006 * error


def test_noise_is_added_and_taken_away(drive):
    driven, model, _ = drive
    image = driven["noisy"]
    assert abs(image["sigma"] - 0.3) < 1e-9
    inner = (image["clean"] > 0.25) & (image["clean"] < 0.75)  # clipping hardly matters there
    assert 0.2 < (image["input"] - image["clean"])[inner].std() < 0.4
    assert image["input"].min() >= 0 and image["input"].max() <= 1
    restored = model.denoise(image["input"].reshape(1, *model.shape)).ravel()
    assert np.abs(restored - image["reconstruction"]).max() <= IMAGES


def test_interpolation_runs_between_the_two_images(drive):
    driven, model, _ = drive
    way, a, b = driven["between"], driven["chosen"]["clean"], driven["file"]["clean"]
    assert encodes(model, a, way["a"]) and encodes(model, b, way["b"])
    ends = [each.reshape(1, *model.shape) for each in (a, b)]
    expected = model.interpolate(*ends, steps=7)[0].reshape(7, -1)
    assert np.abs(expected - np.stack(way["strip"])).max() <= IMAGES
    assert abs(way["alpha"] - 0.4) < 1e-9
    np.testing.assert_allclose(driven["onTheWay"]["code"], 0.6 * way["a"] + 0.4 * way["b"], atol=1e-5)


def test_a_drawing_becomes_an_image(drive):
    driven, model, _ = drive
    if model.shape[0] != 1:
        assert "drawn" not in driven
        return
    drawn = driven["drawn"]["clean"].reshape(model.shape[1:])
    assert drawn[10:18, 13:15].mean() > 0.7 and drawn[:, :9].max() == 0 and drawn[:, 19:].max() == 0
    assert driven["drawn"]["name"] == "your drawing"


def test_nothing_leaves_nothing_fails_and_it_is_fast(drive):
    driven, model, _ = drive
    assert driven["requests"] == [] and driven["errors"] == [] and driven["alert"] == ""
    assert driven["milliseconds"] < 50
    assert driven["title"] == f"{model.bundle.name} · explore"


def test_it_is_used_by_keyboard_and_fits_a_phone(drive):
    driven, _, _ = drive
    assert driven["tabs"][:4] == ["map", "to-nearest", "to-mean", "save-point"]
    assert driven["phone"]["overflow"] <= 0
    assert min(driven["phone"]["tops"]) >= 0 and max(driven["phone"]["bottoms"]) <= 844


def test_a_small_page_loads_the_runtime_from_the_network_or_says_why_not(web_files, chromium, digits_bundle, tmp_path):
    size = write_explorer(digits_bundle, tmp_path / "page.html", cdn=True)
    assert size < 1.5e6
    good, *altered = (tmp_path / name for name in ("good", "ort.wasm.min.js", "ort-wasm-simd-threaded.wasm"))
    for folder in (good, *altered):
        folder.mkdir()
        for name, content in web_files.items():
            (folder / name).write_bytes(content + b" " * (name == folder.name))
    seen = chromium("failing.js", tmp_path / "page.html", good, "offline", "old", *altered)
    assert seen[0]["failure"] == seen[0]["alert"] == "" and len(seen[0]["image"]) == 4
    assert sorted(seen[0]["requests"]) == sorted(web_runtime.CDN + name for name in web_files)
    assert "network" in seen[1]["alert"]
    assert "this browser has no DecompressionStream" in seen[2]["alert"] and seen[2]["failure"]
    assert all(each["failure"] and each["alert"] for each in seen[3:])  # one byte more, and the browser refuses it
