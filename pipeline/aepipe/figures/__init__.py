"""Figures as a paper would show them: rows of images, sheets, interpolation strips, the training curve.

Images are float32 in 0..1 or uint8. Images with 1 or 3 channels are drawn whole; of 2 channels only the first is drawn, of
more than 3 only the first three, which the subtitle says. Small images are enlarged by a whole number without smoothing, large
ones are reduced.

Signals are drawn as lines, one colour for each channel, rows as dots or, if they are long, as lines, volumes as their largest
values along each of the three axes. All samples of a figure have one scale, so that an original and its reconstruction can be
compared: numbers beside the panels of signals and rows tell it, and the subtitle says what is black and white in unbounded
images and volumes, where the 0.5 % of the values at either end are left out.
"""

from __future__ import annotations

import functools
import math
import os
import unicodedata
from typing import TYPE_CHECKING, Any

import numpy as np

from aepipe.errors import AepipeError, BadInput
from aepipe.files.out import JPEG
from aepipe.files.staged import replacing
from aepipe.images.pixels import picture

from .panels import Panels, panels

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

# All sizes are in pixels. An image is enlarged while its longer side stays within _SMALL, and reduced if that side is longer
# than _LARGE. A row of cells is at most about _SHEET wide.
_SMALL, _LARGE, _SHEET = 96, 256, 4096
_MARGIN, _GAP, _APART = 20, 4, 16  # space around a figure, between two cells, and between two groups of cells
_TITLE, _SUBTITLE, _LABEL, _NUMBER = 22, 15, 14, 11  # text sizes
_INK, _GREY, _HAIRLINE = (26, 26, 26), (85, 85, 85), (214, 214, 214)
# A title may make a figure _TEXT_WIDTH wide before it wraps; the label of a row wraps at _LABEL_WIDTH.
_TEXT_WIDTH, _LABEL_WIDTH = 640, 180
# Pillow's font may lack these characters, which are then spelled in ASCII.
_SPELLED = {"×": "x", "–": "-", "—": "-", "−": "-", "→": "->", "²": "^2", "³": "^3", "≤": "<=", "≥": ">=", "≈": "~",
            "µ": "u", "ß": "ss", "½": "1/2"}  # fmt: skip


def rows(
    named: list[tuple[str, np.ndarray]],
    *,
    title: str,
    subtitle: str = "",
    columns: int | None = None,
    bounded: bool = True,
) -> Image:
    """One labelled row for each pair (label, samples [N, C, *sides]), such as originals above reconstructions; all N are equal.

    The samples after the first `columns` (12 images, 6 of other kinds) stand in further blocks below. `bounded` values lie in
    0..1. Raises BadInput if there are no samples, or one holds NaN or infinity.
    """
    count = _count(named[0][1])
    if any(len(samples) != count for _, samples in named):
        raise ValueError("rows of different numbers of images")
    columns = min(count, columns or (12 if named[0][1].ndim == 4 else 6))
    shown = panels([samples for _, samples in named], bounded)
    width, height = _cell_size(shown.groups[0].shape[-2:], columns)
    labels = [_wrap(label, _LABEL, _LABEL_WIDTH) for label, _ in named]
    left = max(_width(lines, _LABEL) for lines in labels)
    left += (_APART if left else 0) + _gutter(shown)
    pitch = max(height, *(_height(lines, _LABEL) for lines in labels)) + _GAP
    block = pitch * len(named) - _GAP + _APART
    body = _blank(left + columns * (width + _GAP) - _GAP, math.ceil(count / columns) * block - _APART)
    for start in range(0, count, columns):
        for row, images in enumerate(shown.groups):
            top = start // columns * block + row * pitch
            _write(body, (0, top + (height - _height(labels[row], _LABEL)) / 2), labels[row], _LABEL)
            _number(body, shown, (left, top), height)
            for column, image in enumerate(images[start : start + columns]):
                _place(body, image, (left + column * (width + _GAP), top), (width, height))
    return _framed(body, title, subtitle, shown)


def sheet(
    images: np.ndarray, *, title: str, subtitle: str = "", columns: int | None = None, bounded: bool = True
) -> Image:
    """A grid of samples [N, C, *sides] with `columns`, by default about as wide as high. `bounded` values lie in 0..1.

    Raises BadInput if there are no samples, or one holds NaN or infinity.
    """
    count = _count(images)
    shown = panels([images], bounded)
    (images,) = shown.groups
    columns = min(count, columns or math.ceil(math.sqrt(count * images.shape[-2] / images.shape[-1])))
    width, height = _cell_size(images.shape[-2:], columns)
    left = _gutter(shown)
    body = _blank(left + columns * (width + _GAP) - _GAP, math.ceil(count / columns) * (height + _GAP) - _GAP)
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        if column == 0:
            _number(body, shown, (left, row * (height + _GAP)), height)
        _place(body, image, (left + column * (width + _GAP), row * (height + _GAP)), (width, height))
    return _framed(body, title, subtitle, shown)


def strips(
    images: np.ndarray,
    *,
    title: str,
    subtitle: str = "",
    column_labels: list[str] | None = None,
    bounded: bool = True,
) -> Image:
    """One row for each interpolation in [pairs, steps, C, *sides], with a gap beside each end; labels stand under the columns.

    `bounded` values lie in 0..1. Raises BadInput if there are no samples, or one holds NaN or infinity.
    """
    pairs, steps = _count(images), images.shape[1]
    shown = panels([images.reshape(-1, *images.shape[2:])], bounded)
    images = shown.groups[0].reshape(pairs, steps, *shown.groups[0].shape[1:])
    width, height = _cell_size(images.shape[-2:], steps)
    labels = [_wrap(label, _LABEL, width) for label in column_labels or []]
    if labels and len(labels) != steps:
        raise ValueError(f"{len(labels)} labels for {steps} columns")
    legend = max((_height(lines, _LABEL) for lines in labels), default=-2 * _GAP)
    pitch, row_pitch, left = width + _GAP, height + 2 * _GAP, _gutter(shown)
    apart = [(_APART if step else 0) + (_APART if 1 < step == steps - 1 else 0) for step in range(steps)]
    lefts = [left + step * pitch + apart[step] for step in range(steps)]
    body = _blank(lefts[-1] + width, pairs * row_pitch + legend)
    for pair, step in np.ndindex(pairs, steps):
        if step == 0:
            _number(body, shown, (left, pair * row_pitch), height)
        _place(body, images[pair, step], (lefts[step], pair * row_pitch), (width, height))
    for lines, left in zip(labels, lefts, strict=False):
        for number, line in enumerate(lines):
            at = (left + (width - _width([line], _LABEL)) / 2, pairs * row_pitch + number * _line(_LABEL))
            _write(body, at, [line], _LABEL, _GREY)
    return _framed(body, title, subtitle, shown)


def save(image: Image, path: str | os.PathLike[str]) -> None:
    """Writes a PNG, or a JPEG of high quality where the path ends so, complete or not at all. Raises AepipeError if `path`
    cannot be written."""
    with replacing(path) as temporary:
        if os.fspath(path).lower().endswith(JPEG):
            image.save(temporary, "JPEG", quality=95, subsampling=0)
        else:
            image.save(temporary, "PNG", optimize=image.width * image.height < 4_000_000)


def curve(metrics: list[dict[str, Any]], path: str | os.PathLike[str], *, title: str, subtitle: str = "") -> None:
    """Draws training loss and validation MSE by epoch as a PNG; the best epoch is marked with its value.

    `metrics` holds a row {"epoch", "loss", "validation_mse", …} for each epoch. A panel leaves out the rows that lack its
    key, and a panel without rows is not drawn. Raises BadInput if neither panel has rows, and AepipeError if matplotlib is
    missing or `path` cannot be written.
    """
    names = {"loss": "training loss", "validation_mse": "validation MSE"}
    panels = {key: [(row["epoch"], float(row[key])) for row in metrics if row.get(key) is not None] for key in names}
    panels = {key: points for key, points in panels.items() if points}
    if not panels:
        raise BadInput("The metrics hold neither a loss nor a validation MSE", "train for at least one epoch")
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise AepipeError("The training curve needs matplotlib", "pip install 'aepipe[train]'") from error
    from PIL import Image

    figure = Figure(figsize=(4.6 * len(panels), 3.6), dpi=120, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    for number, (key, points) in enumerate(panels.items()):
        _curve_panel(figure.add_subplot(1, len(panels), number + 1), points, names[key], best=key == "validation_mse")
    canvas.draw()
    body = Image.fromarray(np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3]))
    save(_framed(body, title, subtitle), path)


def _curve_panel(axes: Any, points: list[tuple[int, float]], name: str, best: bool) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    epochs, values = zip(*points, strict=True)
    axes.plot(epochs, values, color="#1f5fa8", linewidth=1.6, marker="o" if len(points) <= 40 else "", markersize=3)
    if 0 < min(values) < max(values):  # some losses are negative, which a logarithmic axis cannot show
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)) if max(values) > 10 * min(values) else MaxNLocator(6))
        axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}"))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch", fontsize=9)
    axes.set_ylabel(name, fontsize=9)
    axes.tick_params(labelsize=9)
    axes.grid(color="#e4e4e4", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    if best:
        value, epoch = min(zip(values, epochs, strict=True))
        axes.plot([epoch], [value], "o", color="#c0392b", markersize=6, label=f"best: {value:.4g} at epoch {epoch}")
        axes.legend(frameon=False, fontsize=9, handletextpad=0.2)


def _count(images: np.ndarray) -> int:
    if images.size == 0:
        raise BadInput("There are no images to draw", "give at least one image")
    return len(images)


def _cell_size(shape: tuple[int, ...], columns: int) -> tuple[int, int]:
    """Width and height of an image of shape (H, W) among `columns` in a row."""
    height, width = shape
    side, room = max(height, width), _SHEET // columns
    factor: float = max(1, min(_SMALL, room) // side)
    if side > min(_LARGE, room):
        factor = min(_LARGE, room) / side
    return max(1, round(width * factor)), max(1, round(height * factor))


def _place(body: Image, image: np.ndarray, at: tuple[int, int], size: tuple[int, int]) -> None:
    """Draws one image [C,H,W] with its top left corner at `at`; a hairline around it shows where a white image ends."""
    from PIL import Image, ImageDraw

    own = picture(image)
    smaller = size[0] < own.width or size[1] < own.height
    own = own.resize(size, Image.Resampling.LANCZOS if smaller else Image.Resampling.NEAREST)
    ImageDraw.Draw(body).rectangle((*at, at[0] + size[0] + 1, at[1] + size[1] + 1), outline=_HAIRLINE)
    body.paste(own, (at[0] + 1, at[1] + 1))


def _blank(width: int, height: int) -> Image:
    """A white image with two pixels more in each direction, so that the last hairlines fit."""
    from PIL import Image

    return Image.new("RGB", (width + 2, height + 2), "white")


def _gutter(shown: Panels) -> int:
    """The width that the numbers of the vertical axis need in front of a row of panels."""
    return _width([text for _, text in shown.ticks], _NUMBER) + 6 if shown.ticks else 0


def _number(body: Image, shown: Panels, at: tuple[int, int], height: int) -> None:
    """The numbers of the vertical axis, left of the panel with its top left corner at `at`; as many as there is room for."""
    every = max(1, math.ceil(len(shown.ticks) * _line(_NUMBER) / height))
    for share, text in shown.ticks[::every]:
        place = (at[0] - 5 - _width([text], _NUMBER), at[1] + 1 + share * height - 0.58 * _line(_NUMBER))
        _write(body, place, [text], _NUMBER, _GREY)


def _keyed(body: Image, legend: list[tuple[str, str]]) -> Image:
    """The body under a legend: a short line in the colour of each channel, and its name."""
    from PIL import ImageDraw

    if not legend:
        return body
    entry = max(_width([name], _LABEL) for name, _ in legend) + 24 + _APART
    across = max(1, body.width // entry)
    top = math.ceil(len(legend) / across) * _line(_LABEL) + 8
    whole = _blank(max(body.width, entry) - 2, top + body.height - 2)
    for index, (name, colour) in enumerate(legend):
        left, line = index % across * entry, index // across * _line(_LABEL)
        middle = line + _line(_LABEL) // 2
        ImageDraw.Draw(whole).line([(left, middle), (left + 17, middle)], fill=colour, width=2)
        _write(whole, (left + 24, line), [name], _LABEL, _GREY)
    whole.paste(body, (0, top))
    return whole


def _framed(body: Image, title: str, subtitle: str, shown: Panels | None = None) -> Image:
    """The body under its title, its subtitle and what a reader must know of its panels, with margins."""
    if shown:
        subtitle = " · ".join(filter(None, (subtitle, shown.note)))
        body = _keyed(body, shown.legend)
    widest = max(_width(text.splitlines(), size) for text, size in ((title, _TITLE), (subtitle, _SUBTITLE)))
    width = max(body.width, min(widest, _TEXT_WIDTH))
    head, sub = _wrap(title, _TITLE, width), _wrap(subtitle, _SUBTITLE, width)
    below = _MARGIN + _height(head, _TITLE)
    top = below + _height(sub, _SUBTITLE) + 12
    figure = _blank(width + 2 * _MARGIN, top + body.height + _MARGIN)
    for shift in (0, 0.6):  # Pillow's font has no bold style, so that the title is drawn twice
        _write(figure, (_MARGIN + shift, _MARGIN - 4), head, _TITLE)
    _write(figure, (_MARGIN, below), sub, _SUBTITLE, _GREY)
    figure.paste(body, (_MARGIN, top))
    return figure


@functools.cache
def _font(size: int) -> FreeTypeFont:
    from PIL import ImageFont

    return ImageFont.load_default(size)  # type: ignore[return-value]


@functools.cache
def _glyph(character: str) -> str:
    """The character if Pillow's font has it, else a readable substitute, because the font would draw a box."""
    mask = _font(_LABEL).getmask
    if character.isascii() or bytes(mask(character)) != bytes(mask("\ue000")):
        return character
    name = unicodedata.name(character, "")
    if name.startswith("GREEK SMALL LETTER "):
        return name.split()[3].lower()
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return _SPELLED.get(character) or plain or "?"


def _width(lines: list[str], size: int) -> int:
    return max((math.ceil(_font(size).getlength("".join(map(_glyph, line)))) + 1 for line in lines), default=0)


def _line(size: int) -> int:
    return round(1.3 * size)


def _height(lines: list[str], size: int) -> int:
    return len(lines) * _line(size)


def _wrap(text: str, size: int, width: int) -> list[str]:
    """Lines of `text` that are no wider than `width`; a single word that is wider is cut into pieces."""
    lines: list[str] = []
    for word in "".join(map(_glyph, text)).split():
        if lines and _width([f"{lines[-1]} {word}"], size) <= width:
            lines[-1] += f" {word}"
            continue
        while len(word) > 1 and _width([word], size) > width:
            fits = next(cut for cut in range(len(word) - 1, 0, -1) if cut == 1 or _width([word[:cut]], size) <= width)
            lines.append(word[:fits])
            word = word[fits:]
        lines.append(word)
    return lines


def _write(image: Image, at: tuple[float, float], lines: list[str], size: int, ink: tuple[int, ...] = _INK) -> None:
    from PIL import ImageDraw

    draw = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        draw.text((at[0], at[1] + number * _line(size)), line, font=_font(size), fill=ink)
