"""The seven tasks of `aepipe infer`: every input, every kind of OUT, compared with the graphs used from Python."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from types import SimpleNamespace

import aepipe
import numpy as np
import pytest
from aepipe import figures
from aepipe.images.data import open_images
from aepipe.images.pixels import as_bytes
from PIL import Image

COUNT = 10


@pytest.fixture(scope="module")
def model(kept_bundle: Path):
    with aepipe.load(kept_bundle, "cpu") as model:
        yield model


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The same ten images as an array, an .npy file and a folder with sub-folders; `x` is what the model sees."""
    home = tmp_path_factory.mktemp("given")
    images = open_images("digits", limit=COUNT).read(np.arange(COUNT))[:, 0]
    np.save(home / "images.npy", images)
    names = sorted(f"{'odd' if k % 2 else 'even/deep'}/{k}.{'png' if k % 3 else 'bmp'}" for k in range(COUNT))
    for name, image in zip(names, images, strict=True):
        (home / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(home / "photos" / name)
    one = home / "photos" / names[0]
    x = images[:, None].astype(np.float32) / 255
    return SimpleNamespace(home=home, npy=home / "images.npy", folder=home / "photos", one=one, names=names, x=x)


def png_files(folder: Path) -> dict[str, np.ndarray]:
    return {str(path.relative_to(folder)): np.asarray(Image.open(path)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", ["npy", "folder", "digits", "digits[:10]", "digits[2:8]"])
def test_reconstruct_gives_the_same_from_every_input(kind: str, infer, given, model, tmp_path: Path) -> None:
    what = {"npy": given.npy, "folder": given.folder}.get(kind, kind)
    infer("reconstruct", what, "-o", tmp_path / "out.npy", *(["--limit", COUNT] if kind == "digits" else []))
    expected = given.x[2:8] if kind == "digits[2:8]" else given.x
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), model.reconstruct(expected), atol=1e-6)


@pytest.mark.parametrize("task", ["reconstruct", "denoise"])
def test_arrays_and_folders_hold_the_same_images(task: str, infer, given, model, tmp_path: Path) -> None:
    expected = model.reconstruct(given.x)
    outcome = infer(task, given.folder, "-o", tmp_path / "new" / "out.npz")
    assert "10 images" in outcome.err and outcome.out == ""
    with np.load(tmp_path / "new" / "out.npz") as arrays:
        assert arrays.files == ["images", "indices", "names"]
        assert arrays["indices"].tolist() == list(range(10)) and len(set(arrays["names"])) == 10
        np.testing.assert_allclose(arrays["images"], expected, atol=1e-6)
    infer(task, given.folder, "-o", tmp_path / "restored")
    files = png_files(tmp_path / "restored")
    assert sorted(files) == sorted(str(Path(name).with_suffix(".png")) for name in given.names)
    for name, image in zip(given.names, as_bytes(expected)[:, 0], strict=True):
        assert np.abs(files[str(Path(name).with_suffix(".png"))].astype(int) - image).max() <= 1
    infer(task, given.npy, "-o", f"{tmp_path}/numbered/")
    assert sorted(png_files(tmp_path / "numbered")) == [f"{k:06d}.png" for k in range(COUNT)]


def test_one_image_file_gives_that_image(infer, given, model, tmp_path: Path) -> None:
    for task in ("reconstruct", "denoise"):
        outcome = infer(task, given.one, "-o", tmp_path / "one.png")
        assert "1 image\n" in outcome.err
        image = Image.open(tmp_path / "one.png")
        assert image.size == (28, 28) and image.mode == "L"
        expected = as_bytes(model.reconstruct(given.x[:1]))[0, 0]
        assert np.abs(np.asarray(image).astype(int) - expected).max() <= 1


def test_a_large_colour_photo_is_cropped_and_resized(infer, tmp_path: Path) -> None:
    Image.linear_gradient("L").resize((640, 480)).convert("RGB").save(tmp_path / "photo.jpg")
    infer("reconstruct", tmp_path / "photo.jpg", "-o", tmp_path / "one.png")
    assert Image.open(tmp_path / "one.png").size == (28, 28)


def test_sheets_show_the_first_images_and_say_so(infer, tmp_path: Path) -> None:
    outcome = infer("reconstruct", "digits", "-o", tmp_path / "sheet.png")
    assert "48 images, the first of 359: --limit N shows more" in outcome.err
    sheet = Image.open(tmp_path / "sheet.png")
    assert sheet.mode == "RGB" and sheet.width > 12 * 84 and sheet.height > 8 * 84
    outcome = infer("reconstruct", "digits", "-o", tmp_path / "sheet.png", "--limit", "60")
    assert "60 images" in outcome.err and Image.open(tmp_path / "sheet.png").height > sheet.height


@pytest.mark.parametrize("size", [1, 3, 64])
def test_results_do_not_depend_on_the_batch_size(size: int, infer, given, model, tmp_path: Path) -> None:
    tasks = {"reconstruct": [given.npy], "sample": ["--count", 10, "--seed", 3], "interpolate": [given.npy]}
    for task, arguments in tasks.items():
        infer(task, *arguments, "-o", tmp_path / f"{task}.npy", "--batch-size", size)
    expected = {
        "reconstruct": model.reconstruct(given.x),
        "sample": model.sample(10, seed=3),
        "interpolate": model.interpolate(given.x[::2], given.x[1::2]),
    }
    for task, values in expected.items():
        np.testing.assert_allclose(np.load(tmp_path / f"{task}.npy"), values, atol=1e-5, err_msg=task)


@pytest.mark.parametrize("corruption", ["gaussian:sigma=0.5", "erase:p=0.5", "block:size=9"])
def test_noise_does_not_depend_on_the_batch_size(corruption: str, infer, given, model, tmp_path: Path) -> None:
    results = []
    for size in (1, 4, 64):
        arguments = ["--corrupt", corruption, "--seed", 5, "--batch-size", size]
        infer("denoise", given.npy, "-o", tmp_path / "out.npy", *arguments)
        results.append(np.load(tmp_path / "out.npy"))
    np.testing.assert_allclose(results[0], results[1], atol=1e-5)
    np.testing.assert_allclose(results[0], results[2], atol=1e-5)
    assert np.abs(results[0] - model.reconstruct(given.x)).max() > 0.01
    infer("denoise", given.npy, "-o", tmp_path / "out.npy", "--corrupt", corruption, "--seed", 6)
    assert np.abs(np.load(tmp_path / "out.npy") - results[0]).max() > 0.01, "another seed, another noise"


def test_denoise_shows_clean_spoiled_restored(infer, given, model, tmp_path: Path, monkeypatch) -> None:
    drawn = {}
    rows = figures.rows

    def watched(named, **texts):
        drawn.update(named, texts=texts)
        return rows(named, **texts)

    monkeypatch.setattr(figures, "rows", watched)
    outcome = infer("denoise", given.npy, "-o", tmp_path / "out.png", "--corrupt", "downsample:factor=4")
    assert "trained to reconstruct" in outcome.err
    texts = drawn.pop("texts")
    assert list(drawn) == ["clean", "spoiled", "restored"]
    np.testing.assert_allclose(drawn["clean"], given.x, atol=1e-6)
    blocks = given.x.reshape(COUNT, 1, 7, 4, 7, 4).mean((3, 5)).repeat(4, 2).repeat(4, 3)
    np.testing.assert_allclose(drawn["spoiled"], blocks, atol=1e-5)
    np.testing.assert_allclose(drawn["restored"], model.reconstruct(drawn["spoiled"]), atol=1e-5)
    assert "downsample:factor=4" in texts["subtitle"] and "PSNR" in texts["subtitle"]
    infer("denoise", given.npy, "-o", tmp_path / "two.png")
    drawn.pop("texts")
    assert Image.open(tmp_path / "two.png").height < Image.open(tmp_path / "out.png").height


def test_interpolation_ends_are_reconstructions(infer, given, model, tmp_path: Path) -> None:
    infer("interpolate", given.folder, "-o", tmp_path / "lines.npy", "--pairs", 3, "--steps", 5)
    lines, copies = np.load(tmp_path / "lines.npy"), model.reconstruct(given.x)
    assert lines.shape == (3, 5, 1, 28, 28)
    np.testing.assert_allclose(lines[:, 0], copies[[0, 2, 4]], atol=1e-5)
    np.testing.assert_allclose(lines[:, -1], copies[[1, 3, 5]], atol=1e-5)
    middle = (model.encode(given.x[:1]) + model.encode(given.x[1:2])) / 2
    np.testing.assert_allclose(lines[0, 2], model.decode(middle)[0], atol=1e-5)
    outcome = infer("interpolate", given.folder, "-o", tmp_path / "strips", "--steps", 3)
    assert "5 strips: the images give no more" in outcome.err
    expected = {f"pair-{pair:03d}/step-{step:03d}.png" for pair in range(5) for step in range(3)}
    assert set(png_files(tmp_path / "strips")) == expected
    infer("interpolate", given.folder, "-o", tmp_path / "strips.png", "--pairs", 2)
    assert Image.open(tmp_path / "strips.png").width > 12 * 84


def test_interpolation_between_two_inputs(infer, given, model, tmp_path: Path) -> None:
    infer("interpolate", given.one, given.npy, "-o", tmp_path / "lines.npz", "--pairs", 4, "--steps", 2)
    lines, copies = np.load(tmp_path / "lines.npz")["images"], model.reconstruct(given.x)
    np.testing.assert_allclose(lines[:, 0], copies[[0, 0, 0, 0]], atol=1e-5)
    np.testing.assert_allclose(lines[:, 1], copies[:4], atol=1e-5)
    outcome = infer("interpolate", given.one, "-o", tmp_path / "no.png", code=2)
    assert "has one image" in outcome.err and "give a second INPUT" in outcome.err
    assert not (tmp_path / "no.png").exists()


def test_samples(infer, model, tmp_path: Path) -> None:
    for density in ("gaussian", "pca"):
        infer("sample", "-o", tmp_path / f"{density}.npy", "--count", 70, "--density", density, "--seed", 1)
        got = np.load(tmp_path / f"{density}.npy")
        assert got.shape == (70, 1, 28, 28) and got.min() >= 0 and got.max() <= 1
        np.testing.assert_allclose(got, model.sample(70, density, seed=1), atol=1e-6)
    infer("sample", "-o", tmp_path / "default.npy", "--count", 70, "--seed", 1)
    np.testing.assert_array_equal(np.load(tmp_path / "default.npy"), np.load(tmp_path / "gaussian.npy"))
    assert np.abs(model.sample(5, seed=1) - model.sample(5, seed=2)).max() > 0.01
    infer("sample", "-o", tmp_path / "sheet.png", "--count", 9)
    infer("sample", "-o", tmp_path / "folder", "--count", 3)
    assert sorted(png_files(tmp_path / "folder")) == [f"sample-{k:06d}.png" for k in range(3)]
    infer("sample", "-o", tmp_path / "some.npz", "--count", 2)
    assert np.load(tmp_path / "some.npz")["images"].shape == (2, 1, 28, 28)


def test_encode_then_decode_is_reconstruct(infer, given, model, tmp_path: Path) -> None:
    expected = model.encode(given.x)
    infer("encode", given.folder, "-o", tmp_path / "codes.npy")
    infer("encode", given.folder, "-o", tmp_path / "codes.npz")
    infer("encode", given.folder, "-o", tmp_path / "codes.csv")
    np.testing.assert_allclose(np.load(tmp_path / "codes.npy"), expected, rtol=1e-5, atol=1e-5)
    assert np.load(tmp_path / "codes.npz").files == ["codes", "indices", "names"]
    table = list(csv.reader((tmp_path / "codes.csv").read_text().splitlines()))
    assert table[0] == ["index", "path", "z0", "z1", "z2", "z3", "z4", "z5", "z6", "z7"]
    assert [row[:2] for row in table[1:]] == [[str(k), name] for k, name in enumerate(given.names)]
    numbers = np.array([row[2:] for row in table[1:]], np.float32)
    np.testing.assert_array_equal(numbers, np.load(tmp_path / "codes.npy"), "text keeps every bit")
    infer("decode", tmp_path / "codes.npy", "-o", tmp_path / "images.npy")
    infer("decode", tmp_path / "codes.npz", "-o", tmp_path / "images.npz", "--batch-size", 3)
    np.testing.assert_allclose(np.load(tmp_path / "images.npy"), model.reconstruct(given.x), atol=1e-5)
    np.testing.assert_allclose(np.load(tmp_path / "images.npz")["images"], np.load(tmp_path / "images.npy"), atol=1e-5)
    outcome = infer("decode", tmp_path / "codes.npy", "-o", tmp_path / "images.png", "--limit", 4)
    assert "4 images\n" in outcome.err
    infer("decode", tmp_path / "codes.npy", "-o", tmp_path / "images", "--limit", 2)
    assert sorted(png_files(tmp_path / "images")) == ["000000.png", "000001.png"]


def test_score_table(infer, given, model, tmp_path: Path) -> None:
    infer("score", given.folder, "-o", tmp_path / "scores.csv", "--density", "pca")
    table = list(csv.DictReader((tmp_path / "scores.csv").read_text().splitlines()))
    assert list(table[0]) == ["index", "path", "error", "log_density"]
    assert [row["path"] for row in table] == given.names
    error = np.square(model.reconstruct(given.x) - given.x).mean((1, 2, 3))
    np.testing.assert_allclose([float(row["error"]) for row in table], error, rtol=1e-4)
    density = model.run("log_prob", model.encode(given.x), "pca")
    np.testing.assert_allclose([float(row["log_density"]) for row in table], density, rtol=1e-4)
    scores = model.score(given.npy, density="pca")
    np.testing.assert_allclose(scores["error"], error, rtol=1e-4)
    np.testing.assert_allclose(scores["log_density"], density, rtol=1e-4)


def test_tables_go_to_stdout_alone(infer, given) -> None:
    outcome = infer("score", given.npy, "-o", "-", "--limit", 3)
    table = list(csv.DictReader(io.StringIO(outcome.out)))
    assert list(table[0]) == ["index", "error", "log_density"] and len(table) == 3
    assert len(list(csv.reader(io.StringIO(infer("encode", given.npy, "-o", "-").out)))) == 1 + COUNT


def test_skip_bad_goes_on_and_counts(infer, given, model, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for k, name in enumerate(given.names[:6]):
        (folder / f"{k}.png").write_bytes((given.folder / name).read_bytes())
    (folder / "1.png").write_bytes((folder / "1.png").read_bytes()[:60])
    (folder / "4.png").write_text("not an image")
    outcome = infer("encode", folder, "-o", tmp_path / "codes.npy", code=2)
    assert str(folder / "1.png") in outcome.err and "--skip-bad" in outcome.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]
    expected = model.encode(given.x)[[0, 2, 3, 5]]
    outcome = infer("encode", folder, "-o", tmp_path / "codes.npy", "--skip-bad")
    assert "skipped 2 bad images" in outcome.err and "1.png" in outcome.err and "4.png" in outcome.err
    np.testing.assert_allclose(np.load(tmp_path / "codes.npy"), expected, rtol=1e-4, atol=1e-4)
    infer("score", folder, "-o", tmp_path / "scores.csv", "--skip-bad")
    assert [row["index"] for row in csv.DictReader((tmp_path / "scores.csv").open())] == ["0", "2", "3", "5"]
    infer("reconstruct", folder, "-o", tmp_path / "out", "--skip-bad", "--batch-size", 2)
    assert sorted(png_files(tmp_path / "out")) == ["0.png", "2.png", "3.png", "5.png"]
    infer("interpolate", folder, "-o", tmp_path / "lines.npy", "--skip-bad", "--pairs", 2, "--steps", 2)
    np.testing.assert_allclose(np.load(tmp_path / "lines.npy")[:, 0], model.decode(expected[[0, 2]]), atol=1e-4)


def test_python_takes_every_layout(model, given) -> None:
    expected = model.encode(given.x)
    np.testing.assert_allclose(model.encode(given.x[:, 0]), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(model.encode(np.moveaxis(given.x, 1, -1)), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(model.encode(np.load(given.npy, mmap_mode="r")), expected, rtol=1e-5, atol=1e-5)
    assert model.encode(given.x).dtype == np.float32 and model.decode(expected.astype(float)).dtype == np.float32
