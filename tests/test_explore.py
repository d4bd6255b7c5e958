"""`aepipe explore`: the page as a file, and the page at work in Chromium beside aepipe's own runtime."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import aepipe
import numpy as np
import pytest
from aepipe import web_runtime
from aepipe.cache import sha256_of
from aepipe.data import open_images
from aepipe.explore import for_script, principal_axes, write_explorer
from PIL import Image

BROWSER = Path(__file__).with_name("browser")
IMAGES, CODES = 1e-5, 1e-4
NAME = "<b>&amp; </script><!--"


@pytest.fixture(scope="module")
def runtime() -> dict[str, bytes]:
    """onnxruntime-web, from the cache or the network."""
    try:
        return web_runtime.web_runtime()
    except aepipe.AepipeError as error:
        pytest.skip(error.message)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory):
    """`call(SCRIPT, PAGE, …)`: a script of tests/browser in node; skips where node, npm or Chromium are not there."""
    found = [name for name in ("chromium", "chromium-browser", "google-chrome") if shutil.which(name)]
    if not found or not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("there is no Chromium, no node or no npm")
    home = shutil.copytree(BROWSER, tmp_path_factory.mktemp("node") / "browser")
    install = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    if subprocess.run(install, cwd=home, capture_output=True).returncode:
        pytest.skip("puppeteer-core cannot be installed")

    def call(script: str, page: Path, *arguments: object) -> Any:
        command = ["node", script, shutil.which(found[0]), page, *arguments]
        done = subprocess.run([str(each) for each in command], cwd=home, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout, object_hook=array)

    return call


def array(value: dict[str, Any]) -> Any:
    return np.frombuffer(base64.b64decode(value["f32"]), "<f4") if set(value) == {"f32"} else value


@pytest.fixture(scope="module")
def colour_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Colour, not square, more latent numbers than the page has sliders for, no labels, a name that needs escaping."""
    images = np.random.default_rng(0).random((80, 3, 6, 8), dtype=np.float32)
    images = images.repeat(2, 2).repeat(2, 3)
    home = tmp_path_factory.mktemp("colour")
    run = aepipe.fit(images, encoder="pca", decoder="pca", latent_dim=20, out=home / "run", show=False)
    bundle = run.export(home / "colour", show=False)
    manifest = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps({**manifest, "name": NAME}))
    return bundle


def content_of(page: str) -> dict[str, Any]:
    """What stands in the page as JSON."""
    return json.loads(re.search(r'<script type="application/json" id="bundle">(.*?)</script>', page, re.DOTALL)[1])


# ---- the page at work ----


def own(shape: tuple[int, int, int]) -> Image.Image:
    """For the colour model an image of its size, for the grey one a photograph: colour, transparent, another shape."""
    if shape[0] == 3:
        return Image.fromarray(np.random.default_rng(1).integers(0, 256, (*shape[1:], 3), dtype=np.uint8))
    y, x = np.mgrid[:90, :131]
    colours = np.stack([x * 1.9, y * 2.8, 127 + 120 * np.sin(x * y / 300), 255 - y], -1)
    return Image.fromarray(colours.astype(np.uint8), "RGBA")


@pytest.fixture(scope="module", params=["digits", "colour"])
def drive(request, runtime, chromium, tmp_path_factory):
    """One drive on a page, and the model that it is of."""
    bundle = request.getfixturevalue(f"{request.param}_bundle")
    folder = tmp_path_factory.mktemp("drive")
    model = aepipe.load(bundle, provider="cpu", threads=1)
    own(model.shape).save(folder / "own.png")
    images = "digits[:9]" if request.param == "digits" else None
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
    expected = model.from_noise(noise, density)
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


def test_a_small_page_loads_the_runtime_from_the_network(runtime, chromium, digits_bundle, tmp_path):
    size = write_explorer(digits_bundle, tmp_path / "page.html", cdn=True)
    assert size < 1.5e6
    good, *altered = (tmp_path / name for name in ("good", *runtime))
    for folder in (good, *altered):
        folder.mkdir()
        for name, content in runtime.items():
            (folder / name).write_bytes(content + b" " * (name == folder.name))
    seen = chromium("failing.js", tmp_path / "page.html", good, "offline", *altered)
    assert seen[0]["failure"] == seen[0]["alert"] == "" and len(seen[0]["image"]) == 4
    assert sorted(seen[0]["requests"]) == sorted(web_runtime.CDN + name for name in runtime)
    assert "network" in seen[1]["alert"]
    assert all(each["failure"] and each["alert"] for each in seen[2:])  # one byte more, and the browser refuses it


def test_an_old_browser_is_told_what_it_lacks(runtime, chromium, digits_bundle, tmp_path):
    write_explorer(digits_bundle, tmp_path / "page.html")
    (seen,) = chromium("failing.js", tmp_path / "page.html", "old")
    assert "DecompressionStream" in seen["alert"] and seen["failure"]


# ---- the page as a file ----


def test_the_command_writes_a_page_and_says_how_to_open_it(call, runtime, digits_bundle, tmp_path):
    out = tmp_path / "page.html"
    outcome = call("explore", digits_bundle, "--images", "digits", "-o", out)
    assert outcome.code == 0 and outcome.out == ""
    assert f"{out}: " in outcome.err and "MB" in outcome.err and out.as_uri() in outcome.err
    assert 4.5e6 < out.stat().st_size < 7e6
    page = out.read_text()
    assert "https://" not in re.sub(r"<script>/\*!.*?</script>", "", page, count=1, flags=re.DOTALL)  # ORT's own text
    content = content_of(page)
    assert content["examples"]["count"] == 64 and content["latent"] == 4 and content["classes"] == 10
    assert call("explore", digits_bundle, "--images", "digits", "-o", out).code == 0 and out.read_text() == page


def test_names_are_escaped(colour_bundle, tmp_path):
    write_explorer(colour_bundle, tmp_path / "page.html", cdn=True)
    page = (tmp_path / "page.html").read_text()
    assert "<b>" not in page and "<!--" not in page and "<h1>&lt;b&gt;&amp;amp; &lt;/script&gt;&lt;!--</h1>" in page
    assert len(re.findall("</script>", page)) == 3
    assert content_of(page)["name"] == NAME


def test_the_page_knows_no_folder_of_this_machine(colour_bundle, tmp_path):
    np.save(tmp_path / "mine.npy", np.zeros((2, 3, 12, 16), np.float32))
    write_explorer(colour_bundle, tmp_path / "page.html", images=str(tmp_path / "mine.npy"), cdn=True)
    page = (tmp_path / "page.html").read_text()
    assert content_of(page)["examples"]["name"] == "mine.npy" and str(tmp_path) not in page


def test_json_in_a_script_cannot_end_it():
    text = for_script({"a": "</script><!--<script>&"})
    assert not set("<>&") & set(text) and json.loads(text) == {"a": "</script><!--<script>&"}


def test_principal_axes_are_those_of_the_covariance():
    codes = np.random.default_rng(0).normal(size=(300, 5)) * [1, 4, 2, 0.5, 0] + 3
    mean, axes, share = principal_axes(codes)
    np.testing.assert_allclose(axes @ axes.T, np.eye(5), atol=1e-12)
    projected = (codes - mean) @ axes.T
    np.testing.assert_allclose(np.cov(projected.T, bias=True), np.diag(projected.var(0)), atol=1e-10)
    np.testing.assert_allclose(share, projected.var(0) / codes.var(0).sum(), atol=1e-12)
    assert (np.diff(share) <= 0).all() and (axes[np.arange(5), np.abs(axes).argmax(1)] > 0).all()
    assert [each.shape for each in principal_axes(np.ones((1, 40)))] == [(40,), (16, 40), (16,)]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-o", "page.png"], "does not write .png"),
        (["-o", "page.html", "--cdn", "--runtime", "."], "--cdn leaves the runtime out"),
        (["-o", "page.html", "--runtime", "nowhere"], "nowhere is not onnxruntime-web 1.30.0"),
        (["-o", "page.html", "--cdn", "--images", "nowhere/"], "'nowhere"),
        (["-o", "page.html", "--cdn", "--images", "wrong.npy"], "the model takes"),
    ],
)
def test_bad_input_leaves_what_was_there(call, digits_bundle, tmp_path, monkeypatch, arguments, expected):
    monkeypatch.chdir(tmp_path)
    np.save("wrong.npy", np.zeros((2, 9, 9), np.float32))
    Path("page.html").write_text("precious")
    outcome = call("explore", digits_bundle, *arguments)
    assert outcome.code == 2 and expected in outcome.err and "\nhint: " in outcome.err
    assert Path("page.html").read_text() == "precious" and sorted(p.name for p in tmp_path.iterdir()) == [
        "page.html",
        "wrong.npy",
    ]


def test_damaged_codes_are_refused(call, digits_bundle, tmp_path):
    bundle = shutil.copytree(digits_bundle, tmp_path / "bundle")
    np.savez(bundle / "codes.npz", codes=np.full((3, 4), np.nan, np.float32))
    outcome = call("explore", bundle, "--cdn", "-o", tmp_path / "page.html")
    assert outcome.code == 2 and "codes of digits" in outcome.err and not (tmp_path / "page.html").exists()


def test_many_labels_are_left_out_and_counted(digits_bundle, tmp_path):
    bundle = shutil.copytree(digits_bundle, tmp_path / "bundle")
    codes = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
    for labels, expected in ((np.arange(100), (100, None)), (np.arange(100) % 2 == 0, (2, ["False", "True"]))):
        np.savez(bundle / "codes.npz", codes=codes, labels=labels)
        write_explorer(bundle, tmp_path / "page.html", cdn=True)
        content = content_of((tmp_path / "page.html").read_text())
        assert (content["classes"], (content["labels"] or {}).get("names")) == expected


def test_it_needs_neither_torch_nor_onnxruntime(digits_bundle, tmp_path):
    code = (
        "import sys; from aepipe.cli import run; code = run(sys.argv[1:]); "
        "print([name for name in ('torch', 'onnx', 'onnxruntime') if name in sys.modules]); sys.exit(code)"
    )
    command = [sys.executable, "-c", code, "explore", digits_bundle, "--cdn", "-o", tmp_path / "page.html"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.strip() == "[]", done.stderr


# ---- fetching onnxruntime-web ----


class Quiet(SimpleHTTPRequestHandler):
    asked: list[str]

    def log_message(self, *arguments):
        self.asked.append(self.path)


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A registry on this machine with a package of three small files, no npm, an empty cache."""
    files = {name: name.encode() * 9 for name in web_runtime.SHA256}
    for name, content in files.items():
        monkeypatch.setitem(web_runtime.SHA256, name, sha256_of(content))
    site = tmp_path / "site"
    site.mkdir()

    def publish(files: dict[str, bytes]) -> None:
        with tarfile.open(site / "package.tgz", "w:gz") as archive:
            for name, content in files.items():
                info = tarfile.TarInfo(f"package/dist/{name}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))

    publish(files)
    Quiet.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setattr(web_runtime, "REGISTRY", f"http://127.0.0.1:{server.server_port}/package.tgz")
    monkeypatch.setattr(web_runtime.shutil, "which", lambda name: None)
    monkeypatch.setenv("AEPIPE_CACHE", str(tmp_path / "cache"))
    yield files, publish
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_runtime_is_fetched_once_and_checked(registry, tmp_path):
    files, publish = registry
    assert web_runtime.web_runtime() == files and len(Quiet.asked) == 1
    assert web_runtime.web_runtime() == files and len(Quiet.asked) == 1
    (cached,) = (tmp_path / "cache").rglob("*.wasm")
    cached.write_bytes(b"cut off")
    assert web_runtime.web_runtime() == files and len(Quiet.asked) == 2
    assert web_runtime.web_runtime(cached.parent) == files
    cached.write_bytes(b"cut off")
    publish({**files, cached.name: b"another"})
    with pytest.raises(aepipe.AepipeError, match="wrong content"):
        web_runtime.web_runtime()
    with pytest.raises(aepipe.BadInput, match="another version"):
        web_runtime.web_runtime(cached.parent)


def test_without_a_network_the_ways_out_are_named(registry, monkeypatch, call, digits_bundle, tmp_path):
    monkeypatch.setattr(web_runtime, "REGISTRY", "http://127.0.0.1:9/package.tgz")
    outcome = call("explore", digits_bundle, "-o", tmp_path / "page.html")
    assert outcome.code == 1 and "cannot be fetched" in outcome.err
    assert "--cdn" in outcome.err and "--runtime" in outcome.err and not (tmp_path / "page.html").exists()
