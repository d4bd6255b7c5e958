"""Photographs of any size and colour by tiles: overlapping ones of a model of small images, blended; windows of a model that takes
any size, which give what the whole image would, in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np

from aepipe import figures
from aepipe._types import Array, Corrupt, ImageShape
from aepipe.errors import BadInput
from aepipe.images.batches import in_parts
from aepipe.images.corruption import spoiled
from aepipe.images.pixels import as_bytes, as_float, picture
from aepipe.judging.metrics import psnr_between
from aepipe.runtime.model import BATCH, Model

from .shards import Out
from .streams import Input, Reading, done, image_writer, names_of

LEAVE = "leave out --tile"
WINDOW_CORE = 512  # pixels of a window's side that are kept
UNKNOWN = 64  # pixels around them where it is not known how far the networks see
WINDOW, WINDOWS = 256, 3  # what a figure shows of a photograph, pixel by pixel


def restore(model: Model, image: Array, overlap: int | None = None) -> Array:
    """One image [C, H, W] of any size, uint8 or float in 0..1, through encoder and decoder by tiles: float32 [C, H, W].

    Neighbouring tiles share `overlap` pixels (default: a quarter of a tile). Raises BadInput for an overlap that is no
    less than a tile and for colours that do not fit the model.
    """
    return tiled(model.reconstruct_batch, image, model.space.sized("--tile", LEAVE), overlap, model.batch_size)


def restore_windows(model: Model, image: Array, overlap: int | None = None) -> Array:
    """One image [C, H, W], uint8 or float in 0..1, through a model that takes any size: of the same type and shape.

    The result is that of the whole image, because a window sees `overlap` pixels around what is kept of it: by default as far as
    the model's networks see. Where that is not known it is only near the whole image's. Beside image and result there are a
    window and what the networks make of it in memory.
    """
    data, multiple = model.bundle.manifest.data, model.multiple
    sees = overlap if overlap is not None else data.reach if data.reach is not None else UNKNOWN
    margin, core = -(-sees // multiple) * multiple, -(-WINDOW_CORE // multiple) * multiple
    planes = _planes(image, data.shape[0] or 1)
    _, channels, height, width = planes.shape
    # Rows of pixels with their channels beside one another: what a file of pixels is, so that nothing is copied again.
    result = np.empty((len(planes), height, width, channels), image.dtype if image.dtype == np.uint8 else np.float32)
    for top, left in product(range(0, height, core), range(0, width, core)):
        rows, columns = ((max(0, at - margin), at, at + core, at + core + margin) for at in (top, left))
        window = as_float(planes[:, :, rows[0] : rows[3], columns[0] : columns[3]])
        made = model.reconstruct_batch(window)[:, :, rows[1] - rows[0] :, columns[1] - columns[0] :][:, :, :core, :core]
        kept = as_bytes(made) if image.dtype == np.uint8 else made
        result[:, rows[1] : rows[2], columns[1] : columns[2]] = kept.transpose(0, 2, 3, 1)
    whole = result.transpose(0, 3, 1, 2)
    if whole.size == image.size:
        return whole.reshape(image.shape) if len(whole) > 1 else whole[0]
    return whole[0].mean(0, keepdims=True).astype(whole.dtype)


def tiled(
    compute: Callable[[Array], Array],
    image: Array,
    shape: ImageShape,
    overlap: int | None = None,
    batch_size: int = BATCH,
) -> Array:
    """The same by any function from float32 [n, *shape] to the same shape; it gets `batch_size` tiles or fewer at once.

    A grey function takes each channel by itself, one for three channels a grey image thrice. An image smaller than a tile
    is continued by reflection. Beside the image and the result only one row of tiles is in memory.
    """
    _, height, width = shape
    overlap = check_overlap(overlap, shape)
    planes = _planes(image, shape[0])
    missing = [max(0, tile - side) for tile, side in zip((height, width), image.shape[1:], strict=True)]
    margins = [(each // 2, each - each // 2) for each in missing]
    padded = np.pad(planes, [(0, 0), (0, 0), *margins], "reflect")
    rows, columns = _steps(padded.shape[2], height, overlap), _steps(padded.shape[3], width, overlap)
    result = np.zeros(padded.shape, np.float32)
    for top, fade in rows:
        tiles = np.stack([padded[:, :, top : top + height, left : left + width] for left, _ in columns])
        flat = tiles.reshape(-1, *shape)
        parts = [compute(as_float(part)) for part in in_parts(flat, batch_size)]
        band = np.zeros((*padded.shape[:2], height, padded.shape[3]))
        for (left, weight), tile in zip(columns, np.concatenate(parts).reshape(tiles.shape), strict=True):
            band[..., left : left + width] += weight * tile
        result[:, :, top : top + height] += fade[:, None] * band
    (above, _), (before, _) = margins
    result = result[:, :, above : above + image.shape[1], before : before + image.shape[2]]
    return result.reshape(image.shape) if planes.size == image.size else result[0].mean(0, keepdims=True)


def check_overlap(overlap: int | None, shape: ImageShape) -> int:
    """The overlap in pixels, by default a quarter of a tile's smaller side; raises BadInput where no tile could move on."""
    side = min(shape[1:])
    if overlap is None:
        return side // 4
    if not 0 <= overlap < side:
        raise BadInput(f"tiles of {side} pixels cannot overlap by {overlap}", f"0 to {side - 1}; default: {side // 4}")
    return overlap


def _planes(image: Array, channels: int) -> Array:
    """The image as [n, channels, H, W]: whole, each channel by itself, or a grey one repeated."""
    own = image.shape[0]
    if own == channels:
        return image[None]
    if channels == 1:
        return image[:, None]
    if own == 1:
        return np.broadcast_to(image[None], (1, channels, *image.shape[1:]))
    raise BadInput(
        f"an image of {own} channels does not fit a model of {channels}", "give grey images or the model's colours"
    )


def _steps(side: int, tile: int, overlap: int) -> list[tuple[int, Array]]:
    """Along one side: where each tile starts, and its weights [tile], positive, which sum to 1 at every pixel.

    The starts are spread evenly. A weight rises and falls as a squared sine over the overlap, which takes the model's
    edges, where it knows least, out of the picture without a seam; in two dimensions weights are products.
    """
    count = 1 + math.ceil((side - tile) / (tile - overlap))
    starts = np.linspace(0, side - tile, count).round().astype(int)
    inside = np.minimum(np.arange(tile), np.arange(tile)[::-1]) + 0.5  # pixels from the nearer edge
    window = np.sin(np.pi / 2 * np.minimum(inside / max(overlap, 0.5), 1)) ** 2
    total = np.zeros(side)
    for start in starts:
        total[start : start + tile] += window
    return [(int(start), window / total[start : start + tile]) for start in starts]


def open_whole(model: Model, reading: Reading, what: str, out: Out, overlap: int | None) -> Input:
    """Open an input for tiles: its images keep their own sizes. Raises BadInput for what tiles cannot be made of."""
    _settled(model, overlap)
    given = reading.open(what, model, "encoder", "decoder", whole=True)
    if out.kind == "png" and len(given.source) > 1:
        message = f"{given.source.name} has {len(given.source)} images, and a picture of tiles shows one"
        raise BadInput(message, "give a folder as OUT, or --limit 1")
    return given


def _settled(model: Model, overlap: int | None) -> int | None:
    """The overlap of tiles, in pixels; raises BadInput for samples that tiles cannot be made of, and for an absurd overlap."""
    if model.space.kind == "image" and not model.space.fixed:
        return overlap
    return check_overlap(overlap, model.space.sized("--tile", LEAVE))


def restore_input(
    model: Model,
    given: Input,
    out: Out,
    *,
    overlap: int | None,
    spoil: Corrupt | None = None,
    seed: int = 0,
    corruption: dict[str, Any] | None = None,
) -> None:
    """Every image of an input that `open_whole` opened, at its own size, to OUT: a picture of one image (with `spoil` before
    and after), a folder, or an array where all are of one size. `spoil` spoils the whole image before it is cut into tiles;
    `corruption` is its record.
    """
    overlap = _settled(model, overlap)
    one = restore if model.space.fixed else restore_windows
    job = given.job(out, "tiles", {"overlap": overlap, "corrupt": corruption, "seed": seed}, one_by_one=True)
    ratios: list[tuple[float, float]] = []
    count = 0

    def results() -> Iterator[tuple[int, Array, Array, Array]]:
        nonlocal count
        for index, image in given.read_whole("restoring", job):
            before = spoiled(spoil, as_float(image[None]), np.array([index]), seed)[0] if spoil else image
            restored = one(model, before, overlap)
            if spoil:
                ratios.append((psnr_between(before, as_float(image)), psnr_between(restored, as_float(image))))
            count += 1
            yield index, image, before, restored

    if out.kind == "png":
        for _, *stages in results():
            shown = _compared(stages, model, _quality(ratios)) if spoil else picture(stages[-1])
            figures.save(shown, out.path)
    else:
        shape = None
        names, row = names_of(given.source), given.source.shape
        written: dict[str, Any] = {"labelled": True, "raw": model.raw, "source": given.source}
        with image_writer(out, names, row, job=job, **written) as write:
            for index, _, _, restored in results():
                if out.kind != "folder" and shape not in (None, restored.shape):
                    message = f"images of shapes {list(shape or ())} and {list(restored.shape)} do not make one array"
                    raise BadInput(message, "give a folder as OUT")
                shape = restored.shape
                write(np.array([index]), restored[None])
    some = f" (of the {len(ratios)} that were computed now)" if ratios and job.there else ""
    done(out, job.there + count, note=_quality(ratios) + some)


def _compared(stages: list[Array], model: Model, note: str) -> Any:
    """Clean, spoiled and restored windows of one image, pixel by pixel: a reduced photograph shows no noise."""
    _, height, width = stages[0].shape
    high, wide = min(WINDOW, height), min(WINDOW, width)
    top, count = (height - high) // 2, min(WINDOWS, width // wide)
    lefts = [(width - wide) * (2 * k + 1) // (2 * count) for k in range(count)]
    named = [
        (label, np.stack([as_float(image)[:, top : top + high, left : left + wide] for left in lefts]))
        for label, image in zip(("clean", "spoiled", "restored"), stages, strict=True)
    ]
    what = "" if (high, wide) == (height, width) else f" · windows of {wide}×{high} pixels"
    subtitle = f"{width}×{height} pixels{what}{note.replace(', ', ' · ', 1)}"
    return figures.rows(named, title=f"Restoration by {model.bundle.name}", subtitle=subtitle)


def _quality(ratios: list[tuple[float, float]]) -> str:
    """The mean PSNR before and after, as part of a message; "" if no image was spoiled."""
    if not ratios:
        return ""
    before, after = np.mean(ratios, 0)
    return f", {'mean ' * (len(ratios) > 1)}PSNR {before:.2f} dB spoiled, {after:.2f} dB restored"
