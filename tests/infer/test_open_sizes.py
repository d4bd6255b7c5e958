"""Models that take samples of any size: whole, by windows, of mixed sizes, and what is said where sizes do not fit."""

from __future__ import annotations

from pathlib import Path

import aepipe
import numpy as np
import pytest
from aepipe.infer.tiles import restore_windows
from PIL import Image

from tests.helpers.bundles import manifest_of
from tests.helpers.folders import contents

pytestmark = pytest.mark.trains
SMALL = "resnet-map:channels=4,blocks=1"


@pytest.fixture(scope="module")
def open_bundle(tmp_path_factory) -> Path:
    """Grey images of any size through a map of three channels and an eighth of the sides."""
    home = tmp_path_factory.mktemp("open")
    images = np.random.default_rng(0).random((40, 1, 4, 4), dtype=np.float32).repeat(8, 2).repeat(8, 3)
    settings = {"encoder": SMALL, "decoder": SMALL, "latent_dim": 3, "epochs": 1}
    run = aepipe.fit(images, out=home / "run", show=False, **settings)
    assert run.latent.shape == (3, 4, 4)
    return run.export(home / "bundle", io="float,uint8", show=False)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three files of different sizes and colours."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(1)
    for name, shape in (("a.png", (40, 56)), ("b.png", (33, 50, 3)), ("c.png", (7, 90))):
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(folder / name)
    return folder


def test_the_manifest_leaves_sides_open(open_bundle: Path) -> None:
    entries = manifest_of(open_bundle)
    assert entries["data"]["shape"] == [1, None, None] and entries["data"]["multiple"] == 8
    assert entries["latent"]["shape"] == [3, None, None]
    graphs = {graph["file"]: graph for graph in entries["graphs"]}
    assert graphs["encoder.onnx"]["inputs"]["image"]["shape"] == ["batch", 1, "8*h", "8*w"]
    assert graphs["encoder.onnx"]["outputs"]["latent"]["shape"] == ["batch", 3, "h", "w"]
    assert graphs["density/pca/log_prob.onnx"]["inputs"]["latent"]["shape"] == ["batch", 3, 4, 4]


@pytest.mark.parametrize("sides", [(32, 32), (8, 8), (40, 8), (33, 50), (1, 1), (7, 90)])
def test_sides_are_padded_and_cropped(open_bundle: Path, sides: tuple[int, int]) -> None:
    images = np.random.default_rng(2).random((2, 1, *sides), dtype=np.float32)
    with aepipe.load(open_bundle, "cpu") as model:
        codes = model.encode(images)
        assert codes.shape == (2, 3, *(-(-side // 8) for side in sides))
        restored = model.reconstruct(images)
        assert restored.shape == images.shape
        missing = [(0, 0), (0, 0), *((0, -side % 8) for side in sides)]
        padded = model.reconstruct(np.pad(images, missing, "reflect"))
        np.testing.assert_array_equal(restored, padded[:, :, : sides[0], : sides[1]])
        scores = model.score(images)
        assert np.isfinite(scores["error"]).all()
        assert np.isnan(scores["log_density"]).all() == (sides != (32, 32))


def test_windows_give_what_the_whole_image_gives(open_bundle: Path, monkeypatch) -> None:
    monkeypatch.setattr("aepipe.infer.tiles.WINDOW_CORE", 64)
    image = np.random.default_rng(3).random((1, 300, 211), dtype=np.float32)
    with aepipe.load(open_bundle, "cpu") as model:
        reach = model.bundle.manifest.data.reach
        assert reach is not None and 8 < reach < 200
        whole = model.reconstruct(image[None])[0]
        np.testing.assert_allclose(restore_windows(model, image), whole, atol=1e-5)
        assert np.abs(restore_windows(model, image, 0) - whole).max() > 1e-4  # without a margin there are seams
        bytes_ = np.rint(image * 255).astype(np.uint8)
        restored = restore_windows(model, bytes_)
        assert restored.dtype == np.uint8
        assert np.abs(restored - 255 * model.reconstruct(bytes_[None])[0]).max() <= 0.501


def test_a_folder_of_mixed_sizes_keeps_them(open_bundle: Path, photos: Path, call, tmp_path: Path) -> None:
    for task, more in (
        ("reconstruct", []),
        ("denoise", ["--corrupt", "gaussian:sigma=0.1"]),
        ("reconstruct", ["--tile"]),
    ):
        out = tmp_path / f"out{task}{len(more)}"
        outcome = call("infer", task, open_bundle, photos, "-o", f"{out}/", *more)
        assert outcome.code == 0, outcome.err
        sizes = {path.name: Image.open(path).size for path in out.iterdir()}
        assert sizes == {"a.png": (56, 40), "b.png": (50, 33), "c.png": (90, 7)}
    outcome = call("infer", "score", open_bundle, photos, "-o", tmp_path / "scores.csv")
    assert outcome.code == 0 and len((tmp_path / "scores.csv").read_text().splitlines()) == 4
    outcome = call("eval", open_bundle, "--data", photos, "--json")
    assert outcome.code == 0 and '"count": 3' in outcome.out


@pytest.mark.parametrize("how", [[], ["--tile"], ["--shard", "1/1"]])
def test_a_job_on_mixed_sizes_continues(how: list[str], open_bundle: Path, photos: Path, call, tmp_path: Path) -> None:
    for k in range(5):
        (photos / f"a{k}.png").write_bytes((photos / "a.png").read_bytes())
    (photos / "bb.png").write_bytes(b"no image")
    words = ["infer", "denoise", open_bundle, photos, "--corrupt", "gaussian:sigma=0.1", "--provider", "cpu", *how]
    stopped = call(*words, "-o", f"{tmp_path}/out/")
    assert stopped.code == 2 and "bb.png" in stopped.err and "the same command continues" in stopped.err
    done = call(*words, "-o", f"{tmp_path}/out/", "--skip-bad")
    assert done.code == 0 and "of 9 images are there" in done.err and "index 7" in done.err, done.err
    assert call(*words, "-o", f"{tmp_path}/whole/", "--skip-bad").code == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "whole") and len(contents(tmp_path / "out")) == 8


def test_what_needs_one_size_says_so(open_bundle: Path, photos: Path, call, tmp_path: Path) -> None:
    for arguments, said in (
        (("infer", "encode", open_bundle, photos, "-o", tmp_path / "codes.npy"), "do not make one array"),
        (("infer", "reconstruct", open_bundle, photos, "-o", tmp_path / "out.png"), "do not make one figure"),
        (("eval", open_bundle, "--data", photos, "--density", "pca"), "needs images of one size"),
    ):
        outcome = call(*arguments)
        assert outcome.code == 2 and said in outcome.err and "hint: " in outcome.err, outcome.err
        assert not (tmp_path / "codes.npy").exists()
    with aepipe.load(open_bundle, "cpu") as model, pytest.raises(aepipe.BadInput, match="different sizes"):
        model.encode(photos)


def test_samples_of_another_size_have_no_density_which_is_said(open_bundle: Path, photos: Path, call, tmp_path) -> None:
    images = np.random.default_rng(4).random((20, 1, 32, 32), dtype=np.float32)
    np.save(tmp_path / "images.npy", images)
    outcome = call("infer", "score", open_bundle, photos, "-o", tmp_path / "scores.csv")
    assert (
        outcome.code == 0 and "note: 3 have no log_density: the density 'gaussian' is of codes of 3×4×4" in outcome.err
    )
    outcome = call("infer", "score", open_bundle, tmp_path / "images.npy", "-o", tmp_path / "scores.csv")
    assert outcome.code == 0 and "note" not in outcome.err
    refused = call(
        "infer", "score", open_bundle, "--calibrate", photos, "--false-alarm", 0.3, "-o", tmp_path / "usual.json"
    )
    assert refused.code == 2 and "codes of 3×4×4" in refused.err and not (tmp_path / "usual.json").exists()
    made = call("infer", "score", open_bundle, "--calibrate", tmp_path / "images.npy", "-o", tmp_path / "usual.json")
    assert made.code == 0, made.err
    words = "--calibration", tmp_path / "usual.json", "-o", tmp_path / "alarms.csv"
    assert call("infer", "score", open_bundle, tmp_path / "images.npy", *words).code == 0
    refused = call("infer", "score", open_bundle, photos, *words)  # not alarms for each of them
    assert refused.code == 2 and "codes of 3×4×4" in refused.err and "leave out --calibration" in refused.err


def test_codes_of_another_size_are_decoded_and_of_another_shape_refused(open_bundle: Path) -> None:
    with aepipe.load(open_bundle, "cpu") as model:
        assert model.decode(np.zeros((2, 3, 5, 7), np.float32)).shape == (2, 1, 40, 56)
        with pytest.raises(aepipe.BadInput, match=r"\[N, 3, any, any\]"):
            model.decode(np.zeros((2, 4, 5, 7), np.float32))


def test_a_density_knows_codes_of_the_training_size_alone(open_bundle: Path) -> None:
    with aepipe.load(open_bundle, "cpu") as model:
        assert model.log_prob(np.zeros((2, 3, 4, 4), np.float32), "pca").shape == (2,)
        with pytest.raises(aepipe.BadInput, match=r"'pca' is of codes \[3, 4, 4\], and these are \[3, 2, 5\]"):
            model.log_prob(np.zeros((2, 3, 2, 5), np.float32), "pca")


def test_a_network_that_says_a_wrong_multiple_is_refused_at_export(register, tmp_path: Path) -> None:
    class Lying:
        @aepipe.hookimpl
        def register_encoders(self, register):
            def halves(shape, features):
                "Halves the sides, and says that it takes any."
                from torch import nn

                network = nn.Conv2d(shape[0], int(features.shape[0]), 2, 2)
                network.multiple = 2
                return network

            register(halves)

        @aepipe.hookimpl
        def register_decoders(self, register):
            def doubles(latent, shape):
                "Doubles the sides to those of the training images alone."
                from torch import nn

                network = nn.Sequential(nn.Conv2d(latent.shape[0], shape[0], 1), nn.Upsample(size=tuple(shape[1:])))
                network.multiple = 2
                return network

            register(doubles)

    register(Lying(), "lying")
    images = np.random.default_rng(0).random((30, 1, 16, 16), dtype=np.float32)
    run = aepipe.fit(
        images, encoder="halves", decoder="doubles", latent_dim=2, epochs=1, out=tmp_path / "run", show=False
    )
    with pytest.raises(aepipe.ParityError, match=r"\[3, 1, 16, 16\] of samples of 4×6") as caught:
        run.export(tmp_path / "bundle", show=False)
    assert caught.value.exit_code == 3 and not (tmp_path / "bundle").exists()


def test_a_restorer_whose_code_is_the_image(call, tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((40, 3, 6, 6), dtype=np.float32).repeat(4, 2).repeat(4, 3)
    run = aepipe.fit(
        images, encoder="identity", decoder=SMALL, latent_dim="image", corrupt="gaussian:sigma=0.1", epochs=1,
        out=tmp_path / "run", show=False,
    )  # fmt: skip
    bundle = run.export(tmp_path / "bundle", show=False)
    entries = manifest_of(bundle)
    assert (
        entries["densities"] == []
        and entries["latent"]["shape"] == [3, None, None]
        and entries["data"]["multiple"] == 1
    )
    photo = np.random.default_rng(1).integers(0, 256, (37, 53, 3), dtype=np.uint8)
    Image.fromarray(photo).save(tmp_path / "photo.png")
    outcome = call("infer", "denoise", bundle, tmp_path / "photo.png", "-o", tmp_path / "clean.png")
    assert outcome.code == 0 and Image.open(tmp_path / "clean.png").size == (53, 37), outcome.err
    outcome = call("infer", "score", bundle, tmp_path / "photo.png", "-o", "-")
    assert outcome.code == 0 and outcome.out.splitlines()[0] == "index,path,error" and "no density" in outcome.err


@pytest.mark.parametrize("name", ["clean.jpg", "clean.JPEG", "clean.png"])
def test_a_picture_is_written_as_its_ending_says(
    open_bundle: Path, photos: Path, name: str, call, tmp_path: Path
) -> None:
    out = tmp_path / name
    outcome = call("infer", "reconstruct", open_bundle, photos / "b.png", "-o", out, "--provider", "cpu")
    assert outcome.code == 0, outcome.err
    with Image.open(out) as written:
        assert written.size == (50, 33) and written.format == ("PNG" if name.endswith("png") else "JPEG")
    sheet = call("infer", "sample", open_bundle, "--count", 4, "-o", tmp_path / "sheet.jpg", "--provider", "cpu")
    assert sheet.code == 0 and Image.open(tmp_path / "sheet.jpg").format == "JPEG"
    parts = call("infer", "sample", open_bundle, "--count", 4, "--shard", "1/2", "-o", tmp_path / "s.jpg")
    assert parts.code == 2 and "one picture" in parts.err
