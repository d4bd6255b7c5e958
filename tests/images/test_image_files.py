"""Image files: formats, sizes, folders, and files that are not what they seem."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from aepipe import BadInput
from aepipe.images.batches import batches
from aepipe.images.data import open_images
from aepipe.images.folders import find_images
from PIL import Image

from tests.helpers.images import everything
from tests.helpers.places import DATA

photos = pytest.mark.skipif(not (DATA / "photos").is_dir(), reason="AEPIPE_DATA has no photos")
live1 = pytest.mark.skipif(not (DATA / "live1").is_dir(), reason="AEPIPE_DATA has no live1")


def save(path: Path, array, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array)).save(path, **options)
    return path


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).integers(0, 256, shape, dtype=np.uint8)


def test_pixels_of_the_right_size_are_untouched(tmp_path):
    colour, grey = noise(9, 7, 3), noise(9, 7)
    for ending in ("png", "bmp", "PPM", "tiff", "webp"):
        path = save(tmp_path / f"x.{ending}", colour, **({"lossless": True} if ending == "webp" else {}))
        for source in (open_images(path), open_images(path, shape=(3, 9, 7)), open_images(path, image_size=(9, 7))):
            assert source.single_file and source.paths == [path.name]
            np.testing.assert_array_equal(everything(source)[0], colour.transpose(2, 0, 1))
    path = save(tmp_path / "grey.png", grey)
    np.testing.assert_array_equal(everything(open_images(path))[0, 0], grey)
    assert (everything(open_images(path, channels=3)) == grey).all()
    assert open_images(tmp_path / "x.png", channels=1).shape == (1, 9, 7)


def test_folders_are_sorted_recursive_and_without_hidden_files(tmp_path):
    for name in ("b/2.PNG", "b/10.jpg", "a.png", "c/d/e.bmp", ".hidden.png", ".git/x.png"):
        save(tmp_path / name, noise(4, 4, 3))
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "c" / "up").symlink_to("..", target_is_directory=True)
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "d.png").mkdir()
    other = save(tmp_path.parent / "other" / "z.png", noise(4, 4, 3)).parent
    (tmp_path / "linked").symlink_to(other, target_is_directory=True)
    (tmp_path / "back").symlink_to(tmp_path.parent / "other", target_is_directory=True)
    (tmp_path / "y.png").symlink_to(other / "z.png")  # a link to a file is followed, one to a folder is not
    expected = ["a.png", "b/10.jpg", "b/2.PNG", "c/d/e.bmp", "y.png"]
    listing = find_images(tmp_path, "test")
    assert listing.paths == expected
    assert listing.left_out() == {
        "hidden file": 1,
        "hidden folder": 1,
        "links to folders": 4,
        "files with other endings (.txt, none)": 2,
    }
    source = open_images(f"{tmp_path}[1::2]")
    assert source.paths == expected[1::2] and len(source) == 2 and not source.single_file
    (tmp_path / "z.png").symlink_to("gone.png")
    with pytest.raises(BadInput, match=r"z\.png cannot be read"):
        everything(open_images(tmp_path))


def test_splits_of_a_folder(tmp_path):
    save(tmp_path / "train" / "a.png", noise(4, 4))
    save(tmp_path / "test" / "b.png", noise(4, 4))
    assert open_images(tmp_path, split="train").paths == ["a.png"]
    assert open_images(tmp_path).paths == ["b.png"]
    (tmp_path / "test" / "b.png").rename(tmp_path / "b.png")
    (tmp_path / "test").rmdir()
    assert open_images(tmp_path).paths == ["b.png", "train/a.png"] == open_images(tmp_path, split="train").paths


def test_empty_folder(tmp_path):
    (tmp_path / "x.npy").write_bytes(b"")
    with pytest.raises(BadInput, match="no images in the folder") as caught:
        open_images(tmp_path)
    assert "png" in caught.value.hint


def test_mixed_sizes_and_kinds(tmp_path):
    save(tmp_path / "a.png", noise(8, 8))
    save(tmp_path / "b.png", noise(9, 12, 3))
    source = open_images(tmp_path)
    assert source.shape == (3, 8, 8), "one file in colour makes all of them colour"
    assert "1 of the files are in colour and 1 grey" in source.describe()
    with pytest.raises(BadInput, match=r"b\.png has 12x9 pixels, the first image has 8x8") as caught:
        everything(source)
    assert "image_size" in caught.value.hint
    assert everything(open_images(tmp_path, image_size=6)).shape == (2, 3, 6, 6)
    assert everything(open_images(tmp_path, image_size=6, channels=1)).shape == (2, 1, 6, 6)
    assert everything(open_images(tmp_path, shape=(3, 5, 4))).shape == (2, 3, 5, 4)
    with pytest.raises(BadInput, match="not 4"):
        open_images(tmp_path, shape=(4, 8, 8))


def test_crop_is_central_and_resize_antialiased(tmp_path):
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 255
    path = save(tmp_path / "wide.png", wide)
    assert (everything(open_images(path, image_size=20)) == 255).all()
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    small = everything(open_images(save(tmp_path / "stripes.png", stripes), image_size=8))
    assert np.abs(small.astype(int) - 127).max() < 30, "stripes finer than the new pixels must average out"


@pytest.mark.parametrize("ending", ["jpg", "png", "tif"])
def test_exif_orientation(tmp_path, ending):
    image = np.full((16, 32), 20, np.uint8)
    image[:, :16] = 230  # the left half is bright; orientation 6 is shown turned by 90 degrees clockwise
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / f"x.{ending}", image, exif=exif)
    source = open_images(path)
    assert source.shape == (1, 32, 16)
    pixels = everything(source)[0, 0]
    assert pixels[:16].min() > 200 and pixels[16:].max() < 50
    assert open_images(path, shape=(3, 8, 8)).read(np.array([0]))[0, :, 0].min() > 150


def test_more_than_8_bits_are_refused(tmp_path):
    ramp = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    deep = {f"x.{ending}": ramp for ending in ("png", "tif", "pgm")}
    deep |= {"f.tif": (ramp / 65535).astype(np.float32), "i.tif": ramp.astype(np.int32) * 9}
    for name, pixels in deep.items():
        with pytest.raises(BadInput, match=rf"{name} has more than 8 bits") as caught:
            open_images(save(tmp_path / name, pixels))
        assert ".npy of floats" in caught.value.hint
        with pytest.raises(BadInput, match=rf"{name} has more than 8 bits"):
            everything(open_images(tmp_path / name, shape=(1, 8, 8)))


def test_transparency_is_white(tmp_path):
    rgba = np.zeros((4, 4, 4), np.uint8)
    rgba[:2] = (10, 20, 30, 255)
    pixels = everything(open_images(save(tmp_path / "rgba.png", rgba)))[0]
    assert pixels[:, 0, 0].tolist() == [10, 20, 30] and (pixels[:, 2:] == 255).all()
    la = everything(open_images(save(tmp_path / "la.png", np.zeros((4, 4, 2), np.uint8))))
    assert la.shape == (1, 1, 4, 4) and (la == 255).all()
    palette = Image.fromarray(np.zeros((4, 4), np.uint8)).convert("P")
    palette.putpalette([200, 100, 50])
    palette.save(tmp_path / "p.png")
    palette.save(tmp_path / "t.png", transparency=0)
    assert everything(open_images(tmp_path / "p.png"))[0, :, 0, 0].tolist() == [200, 100, 50]
    assert (everything(open_images(tmp_path / "t.png")) == 255).all()


def test_other_modes_and_frames(tmp_path):
    Image.new("CMYK", (4, 4), (0, 255, 255, 0)).save(tmp_path / "x.tif")
    assert everything(open_images(tmp_path / "x.tif"))[0, :, 0, 0].tolist() == [255, 0, 0]
    Image.new("1", (4, 4), 1).save(tmp_path / "x.png")
    assert (everything(open_images(tmp_path / "x.png")) == 255).all()
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(BadInput, match=r"x\.gif holds several pages") as caught:
        open_images(tmp_path / "x.gif")
    assert "one file a page" in caught.value.hint


def spoil(folder: Path) -> list[str]:
    """Ten files, four of them unusable; gives the names of those."""
    for i in range(10):
        save(folder / f"{i}.png", noise(40, 40, 3))
    save(folder / "5.jpg", noise(40, 40, 3))
    (folder / "2.png").write_bytes((folder / "2.png").read_bytes()[:2000])
    (folder / "5.jpg").write_bytes((folder / "5.jpg").read_bytes()[:900])
    (folder / "0.png").write_text("I am no image")
    (folder / "7.png").write_bytes(b"")
    return ["0.png", "2.png", "5.jpg", "7.png"]


def test_bad_files_are_named_or_skipped(tmp_path):
    unusable = spoil(tmp_path)
    source = open_images(tmp_path)  # its shape comes from the first file that can be read
    assert source.shape == (3, 40, 40) and source.paths is not None
    for name in unusable:
        with pytest.raises(BadInput, match=name) as caught:
            source.read(np.array([source.paths.index(name)]))
        assert "skip_bad=True" in caught.value.hint
    with pytest.raises(BadInput, match=r"0\.png is not an image"):
        list(batches(source, 4))
    for order, name in ((range(1, 11), "2.png"), ([1, 3, 4, 6, 5, 8, 2], "5.jpg"), ([1, 3, 8, 2, 5], "7.png")):
        with pytest.raises(BadInput, match=name):  # the first of those asked for, whichever thread meets one first
            source.read(np.array(order))
    bad: list[int] = []
    found = list(batches(source, 4, skip_bad=True, on_bad=lambda index, error: bad.append(index)))
    assert [source.paths[i] for i in bad] == unusable
    assert np.concatenate([batch.indices for batch in found]).tolist() == [i for i in range(11) if i not in bad]
    (tmp_path / "only").mkdir()
    (tmp_path / "0.png").rename(tmp_path / "only" / "0.png")
    with pytest.raises(BadInput, match=r"0\.png is not an image"):
        open_images(tmp_path / "only")


def test_decompression_bomb(tmp_path, monkeypatch):
    path = save(tmp_path / "bomb.png", np.zeros((100, 100), np.uint8))
    monkeypatch.setenv("AEPIPE_MAX_PIXELS", "9999")
    with pytest.raises(BadInput, match=r"bomb\.png is too large: 100x100 are more than 9,999 pixels"):
        everything(open_images(path, shape=(1, 8, 8)))
    monkeypatch.setenv("AEPIPE_MAX_PIXELS", "10000")
    assert everything(open_images(path, shape=(1, 8, 8))).shape == (1, 1, 8, 8)
    monkeypatch.setenv("AEPIPE_MAX_PIXELS", "many")
    with pytest.raises(BadInput, match="AEPIPE_MAX_PIXELS is 'many'"):
        open_images(path)


@photos
def test_real_photos():
    source = open_images(DATA / "photos", split="train", limit=300)
    assert source.shape == (3, 32, 32) and source.paths[0].startswith("airplane/") and len(source) == 300
    images = np.concatenate([batch.images for batch in batches(source, 64)])
    assert images.dtype == np.float32 and 0.3 < images.mean() < 0.7
    with Image.open(DATA / "photos" / "train" / source.paths[5]) as image:
        np.testing.assert_array_equal(source.read(np.array([5]))[0], np.asarray(image).transpose(2, 0, 1))


@live1
def test_real_photos_of_mixed_sizes():
    source = open_images(DATA / "live1", image_size=64, limit=6)
    images = everything(source)
    assert images.shape == (6, 3, 64, 64) and images.std() > 30
    with pytest.raises(BadInput, match="image_size"):
        everything(open_images(DATA / "live1"))
