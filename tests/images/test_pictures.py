"""Images that were opened with Pillow are read as their files are."""

from __future__ import annotations

import io

import numpy as np
import pytest
from aepipe.errors import BadInput
from aepipe.images.data import open_images
from PIL import Image, ImageOps

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 9), dtype=np.uint8)


class Items:
    """A data set as torch has it."""

    def __init__(self, *items: object):
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> object:
        return self.items[index]


def saved(kind: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x112] = orientation
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, kind, exif=exif)
    return file.getvalue()


def read(what: object) -> np.ndarray:
    source = open_images(what)
    return source.read(np.arange(len(source)))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_opened_image_stands_upright_as_its_file(tmp_path, kind: str, orientation: int):
    path = tmp_path / f"image.{kind.lower()}"
    path.write_bytes(saved(kind, orientation))
    expected = read(path)

    def opened() -> Image.Image:
        return Image.open(io.BytesIO(path.read_bytes()))  # opened by its name, Pillow 13 turns a TIFF to another shape

    loaded = opened()
    loaded.load()
    turned = ImageOps.exif_transpose(opened())  # not to be turned once more
    for given in (opened(), [opened()], Items(opened()), loaded, turned, io.BytesIO(path.read_bytes())):
        assert np.array_equal(read(given), expected)


def test_an_image_that_was_made_of_another_stays_as_it_is():
    opened = Image.open(io.BytesIO(saved("PNG", 6)))
    assert np.array_equal(read(opened.copy())[0, 0], PIXELS)


@pytest.mark.parametrize("wrap", [lambda image: image, lambda image: [image], Items])
def test_images_without_pixels_are_refused(wrap):
    cut = [saved(kind, 1)[:-30] for kind in ("PNG", "JPEG")]
    closed = Image.open(io.BytesIO(saved("PNG", 1)))
    closed.close()
    for image in (*(Image.open(io.BytesIO(content)) for content in cut), closed):
        with pytest.raises(BadInput, match=r"damaged|cannot be read"):
            read(wrap(image))
    for size in ((0, 0), (0, 5), (5, 0)):
        with pytest.raises(BadInput, match="which is none"):
            read(wrap(Image.new("L", size)))
