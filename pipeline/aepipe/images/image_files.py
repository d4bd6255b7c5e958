"""Images that are files: finding them in a folder, and decoding, cropping and resizing them in threads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError, features

from aepipe.errors import BadInput
from aepipe.process import cores

from .pixels import as_bytes

ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm"}
if features.check("avif"):
    ENDINGS.add(".avif")
GREY_MODES = {"1", "L", "LA", "La", "I", "F", "I;16", "I;16L", "I;16B", "I;16N"}
Wish = tuple[int | None, int | None, int | None]  # channels, height, width; for None the files decide
TINY = 1024  # a file of so few bytes is decoded in less time than it takes to open it
SKIP = "repair or remove the file, or go on without it: --skip-bad"


def find_images(root: Path) -> list[str]:
    """Paths of the image files below `root`, relative to it, '/'-separated and sorted.

    Hidden files and folders are left out. Links to folders are followed, unless they lead back to a folder that is being
    searched.
    """
    found = sorted(_walk(str(root), "", (os.path.realpath(root),)))
    if not found:
        endings = ", ".join(sorted(ending[1:] for ending in ENDINGS))
        raise BadInput(f"there are no images in the folder {root}", f"image files end in {endings}")
    return found


def _walk(folder: str, prefix: str, inside: tuple[str, ...]) -> Iterator[str]:
    try:
        with os.scandir(folder) as scan:
            entries = [entry for entry in scan if not entry.name.startswith(".")]
    except OSError as error:
        raise BadInput(f"the folder {folder} cannot be read: {error.strerror}", "check its permissions") from None
    for entry in entries:
        if _is_folder(entry):
            real = os.path.realpath(entry.path) if entry.is_symlink() else os.path.join(inside[-1], entry.name)  # noqa: PTH118
            if real not in inside:
                yield from _walk(entry.path, f"{prefix}{entry.name}/", (*inside, real))
        elif os.path.splitext(entry.name)[1].lower() in ENDINGS and (entry.is_symlink() or entry.is_file()):  # noqa: PTH122
            yield prefix + entry.name  # also a broken link: reading it reports the error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # the entry is a link to itself
        return False


def open_files(root: Path, paths: list[str], wish: Wish) -> FileImages:
    """Image files with the channels, height and width of `wish`; where it has None, the first readable file decides."""
    channels, height, width = wish
    if channels is None or height is None or width is None:
        own = _first_shape(root, paths)
        channels = own[0] if channels is None else channels
        height, width = own[1:] if height is None or width is None else (height, width)
    return FileImages(root, paths, (channels, height, width), resize=None not in wish[1:])


def _first_shape(root: Path, paths: list[str]) -> tuple[int, int, int]:
    errors = []
    for path in paths:
        try:
            return channels_and_size(root / path)
        except BadInput as error:  # reading the images reports this file later, or skips it
            errors.append(error)
    raise errors[0]


class FileImages:
    """Image files read by index, each cropped to the centre and resized to `shape`.

    With `resize` off every file must have the size of `shape` already (EXIF orientation applied).
    """

    def __init__(self, root: Path, paths: list[str], shape: tuple[int, int, int], resize: bool = True):
        if shape[0] not in (1, 3):
            raise BadInput(f"image files have 1 or 3 channels, not {shape[0]}", "give the images as a .npy array")
        self.root, self.paths, self.shape, self.resize = root, paths, shape, resize

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, indices: np.ndarray) -> np.ndarray:
        """uint8 [n,C,H,W]; raises BadInput that names the first file that cannot be used."""
        files = [self.root / self.paths[i] for i in indices]
        images = np.empty((len(files), *self.shape), np.uint8)

        def decode(share: range) -> tuple[int, BadInput] | None:
            for i in share:
                try:
                    images[i] = read_image(files[i], self.shape, self.resize)
                except BadInput as error:
                    return i, error
            return None

        threads = _useful_threads(files)
        shares = [range(k, len(files), threads) for k in range(threads)]
        bad = [each for each in (_pool().map(decode, shares) if threads > 1 else map(decode, shares)) if each]
        if bad:
            raise min(bad, key=lambda each: each[0])[1]
        return images

    def read_whole(self, index: int) -> np.ndarray:
        """One file at its own size and in its own colours: uint8 [C,H,W]; raises BadInput that names it."""
        path = self.root / self.paths[index]
        return read_image(path, channels_and_size(path), resize=False)


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(cores(), thread_name_prefix="aepipe-decode")


if hasattr(os, "register_at_fork"):  # a child has none of the threads
    os.register_at_fork(after_in_child=_pool.cache_clear)


def _useful_threads(files: list[Path]) -> int:
    """How many threads help. Opening a file holds Python's lock and decoding does not, so tiny files need few threads."""
    try:
        size = files[len(files) // 2].stat().st_size
    except (OSError, IndexError):
        size = 0
    return max(1, min(cores(), len(files), size // TINY))


def read_image(path: Path, shape: tuple[int, int, int], resize: bool = True) -> np.ndarray:
    """One image file as uint8 [C,H,W]; raises BadInput that names the file."""
    channels, height, width = shape
    try:
        # Pillow gets the open file, not its path: given a path, it maps raw TIFF files into memory and rotates them wrongly.
        with path.open("rb") as file:
            image: Image.Image = Image.open(file)
            if resize:  # a large JPEG is decoded at a reduced size that is still at least twice what is needed
                image.draft(None, (2 * max(height, width),) * 2)
            image.load()
            if image.info or image.format != "PNG":  # a PNG file without any metadata is upright
                ImageOps.exif_transpose(image, in_place=True)
            pixels = _plain(image, "L" if channels == 1 else "RGB")
    except BadInput as error:
        raise BadInput(f"{path}: {error.message}", error.hint) from None
    except Exception as error:  # a damaged file makes decoders raise errors of many types
        raise _unreadable(path, error) from None
    if pixels.size != (width, height):
        if not resize:
            message = f"{path} has {pixels.width}x{pixels.height} pixels, the first image has {width}x{height}"
            raise BadInput(message, "give one size for all with --image-size")
        pixels = ImageOps.fit(pixels, (width, height), Image.Resampling.BICUBIC)
    array = np.asarray(pixels)
    return array[None] if channels == 1 else array.transpose(2, 0, 1)


def _plain(image: Image.Image, mode: str) -> Image.Image:
    """The image in mode L or RGB, with 8 bits per channel and with transparent parts over white."""
    if image.mode.startswith("I") or image.mode == "F":
        image = _to_8_bit(np.asarray(image))
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == mode else image.convert(mode)


def _to_8_bit(pixels: np.ndarray) -> Image.Image:
    """Scale 16-bit grey (0..65535) or floats in 0..1 to 0..255; Pillow's own conversion would clip at 255 instead."""
    top = 1.0 if pixels.dtype.kind == "f" else 65535
    low, high = pixels.min(), pixels.max()
    if not (low >= 0 and high <= top):
        message = f"the image has {pixels.dtype} values from {low:g} to {high:g}, outside 0..{top:g}"
        raise BadInput(message, "convert it to 8 or 16 bits, or leave it out: --skip-bad")
    return Image.fromarray(as_bytes(np.divide(pixels, top, dtype=np.float32)))


def channels_and_size(path: Path) -> tuple[int, int, int]:
    """(C, H, W) of an image file as it is: C is 1 for grey modes, else 3; H and W are those after EXIF orientation."""
    try:
        with path.open("rb") as file, Image.open(file) as image:
            upright = ImageOps.exif_transpose(image)
            return (1 if image.mode in GREY_MODES else 3), upright.height, upright.width
    except Exception as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> BadInput:
    if isinstance(error, Image.DecompressionBombError):
        return BadInput(f"{path} is too large to decode safely: {error}", "reduce it, or go on without it: --skip-bad")
    if isinstance(error, UnidentifiedImageError):
        return BadInput(f"{path} is not an image that can be read", SKIP)
    if isinstance(error, OSError) and error.strerror:
        return BadInput(f"{path} cannot be read: {error.strerror}", SKIP)
    return BadInput(f"{path} is truncated or damaged: {error or type(error).__name__}", SKIP)
