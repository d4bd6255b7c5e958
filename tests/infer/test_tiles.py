"""Photographs of any size and colour through a model of small images."""

from __future__ import annotations

from pathlib import Path

import aepipe
import numpy as np
import pytest
from aepipe.errors import BadInput
from aepipe.infer import tiles
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

SIZES = {"wide.png": (90, 41), "deep/tall.png": (30, 75), "small.png": (9, 13)}  # width, height


def as_is(images: np.ndarray) -> np.ndarray:
    return images.copy()


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, dtype=np.float32)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_a_model_that_changes_nothing_gives_the_image_back(data) -> None:
    shape = (data.draw(st.sampled_from([1, 3])), data.draw(st.integers(1, 17)), data.draw(st.integers(1, 17)))
    overlap = data.draw(st.integers(0, min(shape[1:]) - 1))
    colours = data.draw(st.sampled_from([1, 3]))
    image = noise(colours, data.draw(st.integers(1, 60)), data.draw(st.integers(1, 60)))
    back = tiles.tiled(as_is, image, shape, overlap, batch_size=data.draw(st.integers(1, 9)))
    assert back.shape == image.shape and back.dtype == np.float32
    np.testing.assert_allclose(back, image, atol=1e-6)


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 40), st.integers(0, 200), st.integers(0, 39))
def test_weights_are_positive_and_sum_to_one_everywhere(tile: int, more: int, overlap: int) -> None:
    overlap, side = min(overlap, tile - 1), tile + more
    total = np.zeros(side)
    for start, weights in tiles._steps(side, tile, overlap):
        assert 0 <= start <= side - tile and (weights > 0).all()
        total[start : start + tile] += weights
    np.testing.assert_allclose(total, 1, atol=1e-12)


def test_there_are_no_seams() -> None:
    """Tiles whose levels differ by 0.2 from neighbour to neighbour: the blend walks over, where the raw tiles jump."""

    def uneven(batch: np.ndarray) -> np.ndarray:
        return batch + np.where(np.arange(len(batch)) % 2, 0.1, -0.1).astype(np.float32)[:, None, None, None]

    flat = np.full((1, 16, 128), 0.5, np.float32)
    steps = {n: np.abs(np.diff(tiles.tiled(uneven, flat, (1, 16, 16), n)[0, 5])).max() for n in (0, 8)}
    assert steps[0] > 0.15 and steps[8] < 0.04
    assert np.ptp(tiles.tiled(as_is, np.full((1, 61, 97), 0.7, np.float32), (1, 16, 16))) < 1e-6


def test_batches_are_no_larger_than_they_may_be() -> None:
    sizes = []
    tiles.tiled(lambda batch: sizes.append(len(batch)) or batch, noise(3, 70, 90), (1, 8, 8), 2, batch_size=10)
    assert max(sizes) == 10


def test_what_cannot_be_tiled() -> None:
    for overlap in (8, 20, -1):
        with pytest.raises(BadInput, match="cannot overlap"):
            tiles.tiled(as_is, noise(1, 9, 9), (1, 8, 12), overlap)
    with pytest.raises(BadInput, match="2 channels"):
        tiles.tiled(as_is, noise(2, 9, 9), (3, 8, 8))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Colour pictures of three sizes, one of them smaller than a tile."""
    folder = tmp_path_factory.mktemp("photos")
    for name, (width, height) in SIZES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        smooth = Image.fromarray((255 * noise(6, 6, 3)).astype(np.uint8)).resize(
            (width, height), Image.Resampling.BICUBIC
        )
        smooth.save(folder / name)
    return folder


@pytest.mark.parametrize("task", ["reconstruct", "denoise"])
def test_a_photo_keeps_its_size_and_a_grey_model_takes_each_channel(
    task: str, infer, kept_bundle: Path, photos: Path, tmp_path: Path
) -> None:
    infer(task, photos / "wide.png", "-o", tmp_path / "out.png", "--tile", "--overlap", 5)
    got = np.asarray(Image.open(tmp_path / "out.png"))
    assert got.shape == (41, 90, 3)
    image = np.asarray(Image.open(photos / "wide.png")).transpose(2, 0, 1)
    with aepipe.load(kept_bundle, "cpu", batch_size=7) as model:
        channels = [tiles.restore(model, image[k : k + 1], overlap=5)[0] for k in range(3)]
        expected = tiles.restore(model, image, overlap=5)
        np.testing.assert_array_equal(tiles.restore(model, image / np.float32(255), overlap=5), expected)
        tile = model.reconstruct(image[:1, :28, :28] / np.float32(255))[0, 0]
    np.testing.assert_allclose(np.stack(channels), expected, atol=1e-6)
    assert np.abs(got - 255 * expected.transpose(1, 2, 0)).max() <= 1
    np.testing.assert_allclose(expected[0, 0, :10], tile[0, :10], atol=1e-5, err_msg="no other tile reaches the corner")


def test_a_folder_of_mixed_sizes_gives_a_folder_of_the_same_sizes(infer, photos: Path, tmp_path: Path) -> None:
    outcome = infer("denoise", photos, "-o", tmp_path / "out", "--tile", "--corrupt", "gaussian:sigma=0.1")
    assert "3 images, mean PSNR" in outcome.err
    assert {str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.png")} == set(SIZES)
    for name, size in SIZES.items():
        assert Image.open(tmp_path / "out" / name).size == size
    for shard in ("1/2", "2/2"):
        infer("denoise", photos, "-o", tmp_path / "two", "--tile", "--corrupt", "gaussian:sigma=0.1", "--shard", shard)
    for name in SIZES:
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "out" / name).read_bytes(), "noise goes by index"


def test_spoiled_photos_are_shown_before_and_after(infer, photos: Path, tmp_path: Path) -> None:
    given = [photos / "wide.png", "-o", tmp_path / "out.png", "--tile"]
    outcome = infer("denoise", *given, "--corrupt", "gaussian:sigma=0.1")
    assert "1 image, PSNR" in outcome.err and "dB spoiled" in outcome.err and "dB restored" in outcome.err
    assert Image.open(tmp_path / "out.png").height > 3 * 41
    damage = float(outcome.err.partition("PSNR ")[2].split()[0])
    assert 19 < damage < 22, "sigma 0.1 is 20 dB, and clipping takes some of it away"


def test_arrays_and_data_sets_are_tiled_too(infer, photos: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", noise(2, 40, 50))
    infer("reconstruct", tmp_path / "images.npy", "-o", tmp_path / "out.npy", "--tile")
    assert np.load(tmp_path / "out.npy").shape == (2, 1, 40, 50)
    infer("reconstruct", "digits[:3]", "-o", tmp_path / "tiled.npy", "--tile")
    infer("reconstruct", "digits[:3]", "-o", tmp_path / "whole.npy")
    np.testing.assert_allclose(np.load(tmp_path / "tiled.npy"), np.load(tmp_path / "whole.npy"), atol=1e-5)
    outcome = infer("reconstruct", photos, "-o", tmp_path / "no.npy", "--tile", code=2)
    assert "do not make one array" in outcome.err and not (tmp_path / "no.npy").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--tile", "--overlap", "28"], "cannot overlap by 28"),
        (["--overlap", "3"], "add --tile"),
        (["--tile", "--overlap", "-1"], "0 or more"),
        (["--tile"], "--limit 1"),
    ],
)
def test_what_is_refused(options: list[str], says: str, infer, photos: Path, tmp_path: Path) -> None:
    outcome = infer("reconstruct", photos, "-o", tmp_path / "out.png", *options, code=2)
    assert says in outcome.err and not (tmp_path / "out.png").exists()


def test_bad_files_are_named_or_skipped(infer, photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    (folder / "good.png").write_bytes((photos / "small.png").read_bytes())
    (folder / "bad.png").write_text("not an image")
    outcome = infer("reconstruct", folder, "-o", tmp_path / "out", "--tile", code=2)
    assert "bad.png" in outcome.err and "--skip-bad" in outcome.err and not (tmp_path / "out").exists()
    outcome = infer("reconstruct", folder, "-o", tmp_path / "out", "--tile", "--skip-bad")
    assert "skipped 1 bad images" in outcome.err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good.png"]
