"""One image file to pixels: which formats are read, what is refused, colours, orientation and size."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import IO, TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError, features

from aepipe._types import ImageShape
from aepipe.errors import BadInput
from aepipe.files.regular import check_regular

# A format that is not here is never tried, whatever a file holds: Pillow would start Ghostscript for an EPS file.
FORMATS = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "JPEG"),
    **dict.fromkeys((".ppm", ".pgm", ".pbm", ".pnm"), "PPM"),
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    **{".png": "PNG", ".bmp": "BMP", ".gif": "GIF", ".webp": "WEBP", ".dib": "DIB", ".tga": "TGA"},
    **({".avif": "AVIF"} if features.check("avif") else {}),
    **({".jp2": "JPEG2000"} if features.check("jpg_2000") else {}),
}
ENDINGS = set(FORMATS)
BY_ENDING = {"DIB", "TGA"}  # such a file does not begin in a way of its own, so that its ending has to say what it is
BY_CONTENT = sorted(set(FORMATS.values()) - BY_ENDING)
GREY_MODES = {"1", "L", "LA", "La"}
MAX_PIXELS = 200_000_000
MOST_COPIES = 64  # reduced copies and masks beside the image of a TIFF file
REDUCED_OR_MASK = 5  # bits of TIFF's NewSubfileType
TURNED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

SKIP = "repair or remove the file, or go on without it: --skip-bad"

T = TypeVar("T")


def read_image(path: Path, shape: ImageShape, resize: bool = True) -> np.ndarray:
    """One image file as uint8 [C,H,W], cropped to the centre and resized; raises BadInput that names the file.

    With `resize` off the file must have the size of `shape` already (EXIF orientation applied).
    """
    with _open_file(path) as file:
        return decode(file, str(path), shape, resize)


def channels_and_size(path: Path) -> ImageShape:
    """(C, H, W) of an image file as it is: C is 1 for grey modes, else 3; H and W are those after EXIF orientation."""
    with _open_file(path) as file:
        return header(file, str(path))


def rough_header(path: Path) -> ImageShape:
    """The same from a file's first bytes alone, in a moment; H and W may be exchanged."""
    with _open_file(path) as file, _naming(str(path)):
        return _tolerant(file, lambda readable: shape_of(_opened(readable, str(path))))


def decode(file: IO[bytes], name: str, shape: ImageShape, resize: bool = True) -> np.ndarray:
    """The pixels of an open image file, as `read_image` gives them."""
    with _naming(name):
        image = _tolerant(file, lambda readable: _decoded(readable, name, shape if resize else None))
        return finish(image, name, shape, resize)


def finish(image: Image.Image, name: str, shape: ImageShape, resize: bool = True) -> np.ndarray:
    """A decoded image as uint8 [C,H,W] of this shape."""
    channels, height, width = shape
    pixels = _plain(image, "L" if channels == 1 else "RGB", name)
    if pixels.size != (width, height):
        if not resize:
            message = f"{name} has {pixels.width}x{pixels.height} pixels, the first image has {width}x{height}"
            raise BadInput(message, "give one size for all: --image-size 64")
        pixels = covering(pixels, width, height)
    array = np.asarray(pixels)
    return array[None] if channels == 1 else array.transpose(2, 0, 1)


def covering(image: Image.Image, width: int, height: int) -> Image.Image:
    """An image, cropped to this aspect about its centre and resized, as `ImageOps.fit` does it: bicubic.

    Columns come first, always: from version 13 on Pillow begins with the side that is cheaper, and as each step rounds to bytes,
    one file would become other pixels in another version, and in programs that follow docs/preparation.md.
    """
    whole, wanted = image.width / image.height, width / height
    box_width = wanted * image.height if whole > wanted else image.width
    box_height = image.width / wanted if whole < wanted else image.height
    left, top = (image.width - box_width) * 0.5, (image.height - box_height) * 0.5
    bicubic = Image.Resampling.BICUBIC
    narrow = image.resize((width, image.height), bicubic, (left, 0, left + box_width, image.height))
    return narrow.resize((width, height), bicubic, (0, top, width, top + box_height))


def header(file: IO[bytes], name: str) -> ImageShape:
    """(C, H, W) of an open image file, upright."""

    def look(readable: IO[bytes]) -> ImageShape:
        image = _opened(readable, name)
        if _orientation(image) >= 5:
            image.load()  # Pillow turns some formats when it loads them, and exchanges their sides before or then
        channels, height, width = shape_of(image)
        return (channels, width, height) if _orientation(image) >= 5 else (channels, height, width)

    with _naming(name):
        return _tolerant(file, look)


def shape_of(image: Image.Image) -> ImageShape:
    """(C, H, W) of an image as it stands: C is 1 for grey modes, else 3."""
    return (1 if image.mode in GREY_MODES else 3), image.height, image.width


def _open_file(path: Path) -> IO[bytes]:
    """Pillow gets the open file, not its path: given a path, it maps raw TIFF files into memory and rotates them wrongly."""
    try:
        check_regular(path, SKIP)
        return path.open("rb")
    except (OSError, ValueError) as error:
        raise _unreadable(str(path), error) from None


def _opened(file: IO[bytes], name: str) -> Image.Image:
    """The file's header, read and checked: nothing is decoded yet."""
    own = FORMATS.get(PurePath(name).suffix.lower())
    image = Image.open(file, formats=[*BY_CONTENT, own] if own in BY_ENDING else BY_CONTENT)
    check_image(image, name)
    return image


def check_image(image: Image.Image, name: str) -> None:
    """Raise BadInput for an image of no pixels or of too many, of more than 8 bits a channel, or of several pages."""
    if not image.width * image.height:
        raise BadInput(f"{name} has {image.width}x{image.height} pixels, which is none", SKIP)
    most = max_pixels()
    if image.width * image.height > most:
        message = f"{name} is too large: {image.width:,}x{image.height:,} are more than {most:,} pixels"
        raise BadInput(message, "reduce it, or allow more: AEPIPE_MAX_PIXELS=1000000000")
    if _has_more_than_8_bits(image):
        message = f"{name} has more than 8 bits a channel, and what these mean is not known"
        raise BadInput(message, f"convert it to 8 bits, or give a .npy of floats in 0..1{_or_raw(name)}")
    if _has_pages(image):
        raise BadInput(
            f"{name} holds several pages or frames, not one image", f"split it into one file a page{_or_raw(name)}"
        )


def _or_raw(name: str) -> str:
    """What else is to be done about a file that a reader would take."""
    return "; or read it as it is: pip install aepipe-science" if name.lower().endswith((".tif", ".tiff")) else ""


def max_pixels() -> int:
    """How many pixels an image may have."""
    text = os.environ.get("AEPIPE_MAX_PIXELS", "")
    if not text:
        return MAX_PIXELS
    if not (text.isdecimal() and len(text) < 19 and int(text) > 0):
        raise BadInput(f"AEPIPE_MAX_PIXELS is {text[:40]!r}, not a number of pixels", "write one such as 200000000")
    return int(text)


def _has_more_than_8_bits(image: Image.Image) -> bool:
    if image.mode.startswith("I") or image.mode == "F":
        return True
    tile = getattr(image, "tile", None)
    arguments = tile[0][3] if tile else None
    raw, *rest = arguments if isinstance(arguments, (tuple, list)) and arguments else (arguments,)
    if isinstance(raw, str) and ";16" in raw:
        return True
    if image.format == "PPM":
        return any(isinstance(each, int) and each > 255 for each in rest)
    if image.format == "TIFF":
        return any(bits > 8 for bits in image.tag_v2.get(258, ()))  # type: ignore[attr-defined]
    return image.format == "JPEG2000" and _jpeg2000_bits(image) > 8


def _jpeg2000_bits(image: Image.Image) -> int:
    """Bits of the first channel, from the marker SIZ at the beginning of the code stream; 8 where it is not found."""
    file = image.fp  # type: ignore[attr-defined]
    before = file.tell()
    file.seek(0)
    head = file.read(1 << 16)
    file.seek(before)
    start = head.find(b"\xff\x4f\xff\x51")
    return (head[start + 42] & 0x7F) + 1 if 0 <= start < len(head) - 42 else 8


def _has_pages(image: Image.Image) -> bool:
    """Whether there is a second picture. The previews in JPEG files of cameras and the reduced copies in TIFF files are none."""
    if image.format == "MPO" or not getattr(image, "is_animated", False):
        return False
    if image.format != "TIFF":
        return True
    try:
        for page in range(1, MOST_COPIES + 1):
            image.seek(page)
            if not image.tag_v2.get(254, 0) & REDUCED_OR_MASK:  # type: ignore[attr-defined]
                return True
    except EOFError:  # there are no more
        return False
    finally:
        image.seek(0)
    return True


def _decoded(file: IO[bytes], name: str, shape: ImageShape | None) -> Image.Image:
    """The pixels, upright; for a `shape` a large JPEG is decoded at a reduced size of at least twice what is needed."""
    image = _opened(file, name)
    if shape is not None:
        image.draft(None, (2 * max(shape[1:]),) * 2)
    return _upright(image)


def _upright(image: Image.Image) -> Image.Image:
    """An opened image, loaded and turned by its EXIF orientation."""
    image.load()
    if image.format == "PNG" and not image.info:  # a PNG file without any metadata is upright
        return image
    method = TURNED.get(_orientation(image))
    return image if method is None else image.transpose(method)


def as_opened(image: Image.Image, name: str) -> Image.Image:
    """An image that somebody opened with Pillow, checked and turned upright, as if its file were given.

    One that was made of another, by `ImageOps.exif_transpose` for instance, has no format any more and stays as it is. Raises
    BadInput also for one that is closed, truncated or damaged.
    """
    with _naming(name):
        check_image(image, name)
        return image if image.format is None else _upright(image)


def _orientation(image: Image.Image) -> int:
    """1 to 8; 1 where EXIF says nothing that can be understood, because the pixels are whole all the same."""
    try:
        found = image.getexif().get(0x0112, 1)
    except Exception:
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def _plain(image: Image.Image, mode: str, name: str) -> Image.Image:
    """The image in mode L or RGB, with 8 bits per channel and with transparent parts over white."""
    try:
        if image.mode == "LAB":
            image = image.convert("RGB")
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return image if image.mode == mode else image.convert(mode)
    except ValueError:
        message = f"{name} is in the colours {image.mode}, which are not read"
        raise BadInput(message, "convert it to RGB or grey") from None


def _tolerant(file: IO[bytes], read: Callable[[IO[bytes]], T]) -> T:
    """`read` a file; a PNG that Pillow refuses, once more without its texts and profiles, which say nothing about pixels."""
    try:
        return read(file)
    except BadInput:
        raise
    except Exception:
        bare = _without_texts(file)
        if bare is None:
            raise
        return read(bare)


def _without_texts(file: IO[bytes]) -> IO[bytes] | None:
    """A PNG without texts and colour profiles; None for another file, and for a PNG that has none."""
    file.seek(0)
    signature = file.read(8)
    if signature != b"\x89PNG\r\n\x1a\n":
        return None
    kept, dropped = [signature], False
    while len(head := file.read(8)) == 8:
        body = file.read(int.from_bytes(head[:4], "big") + 4)
        if head[4:] in (b"tEXt", b"zTXt", b"iTXt", b"iCCP"):
            dropped = True
        else:
            kept += [head, body]
    return io.BytesIO(b"".join(kept)) if dropped else None


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """A block that decodes: a damaged file makes decoders raise errors of many types, which become BadInput."""
    try:
        yield
    except BadInput:
        raise
    except Exception as error:
        raise _unreadable(name, error) from None


def _unreadable(name: str, error: Exception) -> BadInput:
    if isinstance(error, UnidentifiedImageError):
        return BadInput(f"{name} is not an image that can be read", SKIP)
    if isinstance(error, OSError) and error.strerror:
        return BadInput(f"{name} cannot be read: {error.strerror}", SKIP)
    if isinstance(error, MemoryError):
        return BadInput(f"{name} does not fit into memory", "reduce it")
    return BadInput(f"{name} is truncated or damaged: {error or type(error).__name__}", SKIP)
