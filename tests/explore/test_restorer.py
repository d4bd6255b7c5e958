"""The page of a model that restores pictures: as a file, and at work in Chromium beside aepipe's own runtime."""

from __future__ import annotations

import base64
import gzip
import io
from pathlib import Path

import aepipe
import numpy as np
import pytest
import torch
from aepipe.bundle.reader import Bundle
from aepipe.errors import BadInput
from aepipe.explore import web_runtime
from aepipe.explore.page import write_explorer
from aepipe.explore.restorer import restorer_content
from aepipe.images.data import open_images
from aepipe.infer.tiles import restore, restore_windows
from PIL import Image
from torch import nn

from tests.helpers.places import FIXTURES

from .test_page import content_of

pytestmark = [pytest.mark.trains, pytest.mark.slow]

SETTINGS = {"encoder": "identity", "decoder": "unet:channels=4,blocks=1,levels=2", "latent_dim": "image"}
NEAR = 1e-4


@pytest.fixture(scope="module")
def unet(tmp_path_factory) -> Path:
    """Colour pictures of any size, trained against noise of any strength that is not clipped."""
    home = tmp_path_factory.mktemp("unet")
    rng = np.random.default_rng(0)
    (home / "photos").mkdir()
    for k in range(4):
        Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(home / "photos" / f"{k}.png")
    augment = {"augment": "crop:size=16,patches=16", "corrupt": "gaussian:sigma=0..0.2,clip=false"}
    run = aepipe.fit(home / "photos", **SETTINGS, **augment, epochs=2, lr=0.03, out=home / "run", show=False)
    return run.export(home / "bundle", show=False)


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """Grey pictures of one size and a code that is a map."""
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 2, 2, 2), nn.Sequential(nn.ConvTranspose2d(2, 1, 2, 2), nn.Sigmoid())
    images = np.random.default_rng(0).random((20, 1, 20, 24), np.float32)
    out = tmp_path_factory.mktemp("small") / "bundle"
    return aepipe.export_modules(*layers, images, out, densities=[], show=False)


def drawn(shape: tuple[int, ...], noise: float = 0) -> Image.Image:
    """A smooth picture [H, W] or [H, W, 3], with noise or without."""
    y, x = np.mgrid[: shape[0], : shape[1]] / 40
    planes = np.stack([127 + 100 * np.sin(x * (k + 1) + y) for k in range(3)], -1)
    planes = planes if len(shape) == 3 else planes[..., 0]
    planes = planes + 255 * noise * np.random.default_rng(0).standard_normal(planes.shape)
    return Image.fromarray(planes.clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def driven(unet, web_files, chromium, tmp_path_factory):
    folder = tmp_path_factory.mktemp("restored")
    drawn((500, 410, 3)).save(folder / "wide.png")  # two tiles high and wide
    drawn((50, 61), noise=0.1).save(folder / "noisy.png")
    transparent = drawn((33, 7, 3))
    transparent.putalpha(Image.fromarray(np.arange(33 * 7, dtype=np.uint8).reshape(33, 7) | 0x80))
    transparent.save(folder / "glass.png")
    drawn((70, 90)).save(folder / "grey.png")
    pictures = [folder / name for name in ("wide.png", "noisy.png", "glass.png", "grey.png")]
    write_explorer(unet, folder / "page.html", images=str(pictures[0]))
    with aepipe.load(unet, "cpu", threads=1) as model:
        yield chromium("restore.js", folder / "page.html", folder, "offline", *pictures), model, folder


def arrays(picture: dict) -> tuple[np.ndarray, np.ndarray]:
    shape = picture["channels"], picture["height"], picture["width"]
    return picture["input"].reshape(shape), picture["result"].reshape(shape)


def test_it_restores_what_the_runtime_restores(driven):
    steps, model, _ = driven
    seen = [
        steps["first"],
        *(each["usual"] for each in steps["pictures"]),
        steps["plain"],
        steps["noisy"],
        steps["other"],
    ]
    assert [each["channels"] for each in seen] == [3, 3, 1, 3, 1, 1, 1, 1]
    for picture in seen:
        noisy, result = arrays(picture)
        assert np.abs(restore_windows(model, noisy) - result).max() <= NEAR, picture["name"]
        whole = model.reconstruct_batch(np.broadcast_to(noisy, (3, *noisy.shape[1:]))[None])[0]
        assert np.abs((whole if len(noisy) == 3 else whole.mean(0)) - result).max() <= NEAR, picture["name"]
        assert np.abs(result - noisy).max() > 1e-3  # the model does something


def test_pictures_are_read_as_aepipe_reads_them(driven):
    steps, _, folder = driven
    shown = {each["usual"]["name"]: each["usual"] for each in steps["pictures"]}
    assert shown["noisy.png"]["sigma"] == 0  # it has noise of its own
    with aepipe.load(driven[1].bundle.directory, "cpu") as model:
        for name in ("noisy.png", "glass.png"):
            noisy, _ = arrays(shown[name])
            expected = open_images(folder / name, shape=model.shape).read_whole(0) / np.float32(255)
            if name == "noisy.png":
                assert np.abs(noisy - expected[:1]).max() < 1e-6
            else:
                np.testing.assert_allclose((noisy - expected).std(), shown[name]["sigma"], rtol=0.1)


def test_noise_is_added_where_the_picture_has_none(driven):
    steps, _, _ = driven
    first = steps["first"]
    assert first["sigma"] == pytest.approx(0.15) and "Noise was added" in first["said"]
    assert "0 to 0.2" in first["note"]
    wide, noisy, glass, _ = steps["pictures"]
    assert wide["usual"]["sigma"] == pytest.approx(0.15) and "looks clean" in wide["said"]
    assert "noise of its own" in noisy["said"] and "transparent" in glass["caption"]
    plain, with_noise = arrays(steps["plain"])[0], arrays(steps["noisy"])[0]
    added = with_noise - plain
    assert steps["noisy"]["sigma"] == pytest.approx(0.1)
    assert abs(added.mean()) < 0.005 and added.std() == pytest.approx(0.1, rel=0.05)
    again = arrays(steps["other"])[0] - plain
    assert abs(np.corrcoef(added.ravel(), again.ravel())[0, 1]) < 0.05
    found = arrays(first)[0]
    assert found.min() < -0.05 and found.max() > 1.05  # as in its training, noise is not clipped
    for picture in (first, steps["noisy"]):
        assert picture["psnr"]["before"] == pytest.approx(-20 * np.log10(picture["sigma"]), abs=0.1)
        assert f"{picture['psnr']['after']:.1f} dB restored" in picture["said"]
    noisy, result = arrays(steps["noisy"])
    assert steps["noisy"]["psnr"]["after"] == pytest.approx(-10 * np.log10(np.square(result - plain).mean()), abs=0.01)


def test_the_line_moves_by_keyboard_and_pointer_and_pixels_are_shown(driven):
    steps, _, folder = driven
    first, keyed, dragged = steps["splits"]
    assert (first["split"], keyed["split"]) == (0.5, pytest.approx(0.3))
    assert dragged["split"] == pytest.approx(0.75, abs=0.02) and int(dragged["value"]) == round(100 * dragged["split"])
    assert keyed["clip"] == pytest.approx(0.3, abs=0.01) and dragged["clip"] == pytest.approx(
        dragged["split"], abs=0.01
    )
    assert steps["pixels"] == 90  # of grey.png, which is enlarged otherwise
    saved = np.asarray(Image.open(folder / "grey-restored.png").convert("L"))
    assert np.abs(saved / 255 - arrays(steps["other"])[1][0].clip(0, 1)).max() <= 0.51 / 255


def test_a_large_picture_is_halved_and_gives_way_to_the_next(driven):
    steps, _, _ = driven
    assert "2500×1500" in steps["large"]["caption"] and "It was 5000×3000" in steps["large"]["caption"]
    assert "of 28 tiles" in steps["large"]["said"]
    assert steps["last"] == {"name": "grey.png", "working": False}


def test_what_is_no_picture_is_said_and_nothing_fails_or_leaves(driven):
    steps, _, _ = driven
    assert steps["problem"] == "broken.png is not an image that this browser can read."
    assert steps["requests"] == [] and steps["errors"] == [] and steps["alert"] == ""
    assert {"file", "save", "pixel-size", "sigma", "split"} <= set(steps["tabs"]) and steps["overflow"] <= 0


def test_models_of_one_size_restore_by_blended_tiles(small, web_files, chromium, tmp_path):
    """A grey model takes each channel of a colour picture by itself; without an example the page asks for a picture. The page is a
    small one, which loads the runtime from the network."""
    drawn((43, 61, 3)).save(tmp_path / "colour.png")
    drawn((15, 19)).save(tmp_path / "tiny.png")
    for name, content in web_files.items():
        (tmp_path / name).write_bytes(content)
    assert write_explorer(small, tmp_path / "page.html", cdn=True) < 1e6
    pictures = tmp_path / "colour.png", tmp_path / "tiny.png"
    steps = chromium("restore.js", tmp_path / "page.html", tmp_path, tmp_path, *pictures)
    assert steps["empty"] and steps["first"]["result"] is None and steps["errors"] == []
    assert sorted(steps["requests"]) == sorted(web_runtime.CDN + name for name in web_files)
    with aepipe.load(small, "cpu", threads=1) as model:
        for picture in [*(each["usual"] for each in steps["pictures"]), steps["noisy"]]:
            given, result = arrays(picture)
            assert np.abs(restore(model, given) - result).max() <= NEAR, picture["name"]
    assert steps["pictures"][0]["usual"]["sigma"] == 0  # it was not trained against noise
    assert "PSNR against the picture" in steps["pictures"][0]["said"]
    assert steps["noisy"]["input"].max() <= 1


def example_of(page: Path) -> tuple[str, Image.Image]:
    found = content_of(page.read_text(encoding="utf-8"))["example"]
    return found["name"], Image.open(io.BytesIO(gzip.decompress(base64.b64decode(found["bytes"]))))


def test_the_example_is_the_first_picture_at_most_a_megapixel_of_its_middle(call, unet, tmp_path):
    page = tmp_path / "page.html"
    pixels = np.zeros((1500, 3000, 3), np.uint8)
    pixels[740:760, 1490:1510] = 255
    (tmp_path / "photos").mkdir()
    Image.fromarray(pixels).save(tmp_path / "photos" / "b.png")
    drawn((40, 50)).save(tmp_path / "photos" / "a.png")
    for images, name, size in (("photos", "a.png", (50, 40)), ("photos/b.png", "b.png", (1414, 707))):
        outcome = call("explore", unet, "--images", tmp_path / images, "--cdn", "-o", page)
        assert outcome.code == 0 and "each at its own size" in outcome.err, outcome.err
        found, image = example_of(page)
        assert (found, image.size) == (name, size) and str(tmp_path) not in page.read_text()
    middle = np.asarray(image.convert("L"))[353, 707]
    assert middle > 250
    write_explorer(unet, page, images="digits", cdn=True)
    assert example_of(page)[1].size == (28, 28)


def test_what_the_page_cannot_show_is_refused(call, unet, tmp_path):
    np.save(tmp_path / "five.npy", np.zeros((2, 5, 16, 16), np.float32))
    np.save(tmp_path / "rows.npy", np.zeros((2, 9), np.float32))
    for images in ("five.npy", "rows.npy", "nowhere/"):
        outcome = call("explore", unet, "--images", tmp_path / images, "--cdn", "-o", tmp_path / "page.html")
        assert outcome.code == 2 and "hint: " in outcome.err and not (tmp_path / "page.html").exists(), outcome.err


def test_kept_bundles_of_maps_get_the_page_and_signals_none(call, tmp_path):
    page = tmp_path / "page.html"
    drawn((40, 50)).save(tmp_path / "bytes.png")
    np.save(tmp_path / "raw.npy", (np.asarray(drawn((40, 50)))[None] / 255 * 4095).round().astype(np.uint16))
    for images in ("bytes.png", "raw.npy"):
        outcome = call(
            "explore", FIXTURES / "format-2-maps" / "bundle", "--images", tmp_path / images, "--cdn", "-o", page
        )
        assert outcome.code == 0, outcome.err
        assert np.abs(np.asarray(example_of(page)[1]) - np.asarray(drawn((40, 50)), int)).max() <= 1
    content = content_of(page.read_text(encoding="utf-8"))
    assert (content["shape"], content["multiple"], content["reach"]) == ([1, None, None], 4, 47)
    assert content["noise"]["note"] == "Black and white of a picture are 0 and 4095 to the model."
    page.unlink()
    outcome = call("explore", FIXTURES / "format-2-signals" / "bundle", "--cdn", "-o", page)
    assert outcome.code == 2 and "needs images of one size, and these are signals" in outcome.err and not page.exists()


@pytest.mark.parametrize(
    ("trained", "usual", "said"),
    [
        ({"name": "gaussian", "options": {"sigma": 0.3, "clip": True}}, 0.3, "trained on 0.3"),
        ({"name": "gaussian", "options": {"sigma": [0.1, 0.5], "clip": False}}, 0.4, "trained on 0.1 to 0.5"),
        ({"name": "jpeg", "options": {"quality": "10..40"}}, 0, "against “jpeg”"),
        ({"name": "gaussian", "options": {"sigma": "a lot"}}, 0, ""),
        (None, 0, ""),
        (["gaussian"], 0, ""),
    ],
)
def test_the_noise_follows_the_training(unet, tmp_path, trained, usual, said):
    bundle = Bundle(unet)
    bundle.manifest.trained["corruption"] = trained
    noise = restorer_content(bundle, None)["noise"]
    assert noise["usual"] == pytest.approx(usual) and said in noise["note"] and noise["most"] >= 0.5


def test_models_of_other_images_are_refused(unet, tmp_path):
    bundle = Bundle(unet)
    object.__setattr__(bundle.manifest.data, "shape", (4, None, None))
    with pytest.raises(BadInput, match="images with 4 channels"):
        restorer_content(bundle, None)
