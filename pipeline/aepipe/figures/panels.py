"""Samples of any kind as the images that show them, with what a reader must know to take numbers from them.

Images are shown as they are. Signals and rows become panels on one vertical scale, volumes their largest values along each of
the three axes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from aepipe._types import Array
from aepipe.errors import BadInput
from aepipe.images.pixels import as_float

# A panel is drawn _FINE times as large and then reduced, so that its lines are smooth. The colours can be told apart by
# everybody (Okabe and Ito, 2008).
_WIDTH, _HEIGHT, _FINE = 176, 96, 3
_STROKE = 5  # of the large panel; a level line so thick fills one row of the small one, and shows its colour there
_EDGE = 5  # pixels between the ends of the scale and the edge of a panel
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_GRID, _ZERO, _STEM = "#ececec", "#bdbdbd", "#9cc3de"
_DOTS = 40  # rows of so many columns or fewer are drawn as dots, because a line would join what has no order
_BEYOND = 0.5  # percent of the values at either end that black and white of unbounded data leave out
# A volume is enlarged while its longest side stays within _VOLUME pixels; white is between its views and around them.
_VOLUME, _SEAM, _RIM = 128, 2, 4


@dataclass(frozen=True)
class Panels:
    """The images of one figure, and how to read them."""

    groups: list[Array]  # for each group of samples the images [N, C, H, W] that show them
    note: str = ""  # what the subtitle has to say of them
    ticks: list[tuple[float, str]] = field(
        default_factory=list
    )  # share of the height from the top, and the number there
    legend: list[tuple[str, str]] = field(default_factory=list)  # channel and colour of each line, if there are several


def panels(groups: list[Array], bounded: bool) -> Panels:
    """Groups of samples [N, C, *sides] of one kind, which share one scale: 0..1 or bytes if `bounded`.

    Raises BadInput for NaN and infinity, which cannot be drawn.
    """
    for samples in groups:
        if samples.dtype != np.uint8 and not np.isfinite(samples).all():
            raise BadInput("A sample to draw contains NaN or infinity", "replace these values before drawing it")
    sides = groups[0].ndim - 2
    if sides < 2:
        return _plots([as_float(each) for each in groups], bounded, lines=sides == 1)
    shown = _channels_shown(groups[0].shape[1])
    if sides == 2 and bounded:
        return Panels(groups, shown)
    values = [as_float(each) for each in groups]
    faces = [_projections(each) for each in values] if sides == 3 else [[each] for each in values]
    low, high = (0.0, 1.0) if bounded else _scale([face for views in faces for face in views], _BEYOND)
    scaled = [[_between(face, low, high).clip(0, 1) for face in views] for views in faces]
    notes = ["largest values along depth, along width (right) and along height (below)"] if sides == 3 else []
    notes += [shown] if shown else []
    notes += [] if bounded else [f"black is {_figure(low)}, white is {_figure(high)}"]
    return Panels([_page(*views) if sides == 3 else views[0] for views in scaled], " · ".join(notes))


def _channels_shown(channels: int) -> str:
    """Which channels of an image `aepipe.images.pixels.picture` draws, where these are not all."""
    if channels in (1, 3):
        return ""
    return "channel 0 of 2" if channels == 2 else f"channels 0, 1 and 2 of {channels} as red, green and blue"


def _scale(values: list[Array], beyond: float = 0) -> tuple[float, float]:
    """The lowest and the highest value, without `beyond` percent at either end; values that are all alike are the middle."""
    every = np.concatenate([each.ravel() for each in values]).astype(np.float64)
    low, high = (float(each) for each in np.percentile(every, [beyond, 100 - beyond]))
    around = max(abs(low), abs(high), 1e-30) * 1e-6  # less than float32 can tell apart
    if high - low > around:
        return low, high
    apart = abs(low) / 2 or 1.0
    return low - apart, high + apart


def _between(values: Array, low: float, high: float) -> Array:
    """Values as shares of the way from `low` to `high`."""
    return ((values.astype(np.float64) - low) / (high - low)).astype(np.float32)


def _projections(volumes: Array) -> list[Array]:
    """The largest values of volumes [N, C, D, H, W] along depth [H, W], width [H, D] and height [D, W]."""
    return [volumes.max(2), volumes.max(4).swapaxes(2, 3), volumes.max(3)]


def _page(front: Array, side: Array, top: Array) -> Array:
    """Three views of volumes on one page, as in a technical drawing: front, at its right the side, below it the top."""
    factor = max(1, _VOLUME // max(*front.shape[2:], *top.shape[2:]))
    front, side, top = (each.repeat(factor, 2).repeat(factor, 3) for each in (front, side, top))
    (height, width), depth = front.shape[2:], top.shape[2]
    page = np.ones((*front.shape[:2], height + _SEAM + depth, width + _SEAM + depth), np.float32)
    page[:, :, :height, :width] = front
    page[:, :, :height, width + _SEAM :] = side
    page[:, :, height + _SEAM :, :width] = top
    return np.pad(page, [(0, 0), (0, 0), (_RIM, _RIM), (_RIM, _RIM)], constant_values=1)


def _plots(groups: list[Array], bounded: bool, lines: bool) -> Panels:
    """Signals [N, C, L] as lines, or rows [N, C], as dots where they are few."""
    low, high = (0.0, 1.0) if bounded else _scale(groups)
    length, channels = groups[0].shape[-1], groups[0].shape[1] if lines else 1
    marks = _ticks(low, high)
    ticks = [(_level(float(_between(np.array(value), low, high))) / _HEIGHT, text) for value, text in marks]
    zero = float(_between(np.array(0.0), low, high))
    dots = length <= _DOTS if not lines else length == 1
    drawn = [
        np.stack([_plot(np.atleast_2d(_between(each, low, high)), ticks, zero, dots) for each in samples])
        for samples in groups
    ]
    note = f"{length:,} {'point' if lines else 'column'}{'' if length == 1 else 's'} across"
    if channels > len(COLOURS):
        note += f" · the first {len(COLOURS)} of {channels} channels"
    legend = [(f"channel {index}", colour) for index, colour in enumerate(COLOURS[:channels])] if channels > 1 else []
    return Panels(drawn, note, ticks, legend)


def _ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Two to six round numbers within a scale, as numbers and as text."""
    power = 10.0 ** math.floor(math.log10((high - low) / 2))
    step = max(factor * power for factor in (1, 2, 5) if factor * power <= (high - low) / 2 * (1 + 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    values = [number * step for number in range(first, last + 1)]
    digits = math.floor(math.log10(max(abs(low), abs(high)))) - math.floor(math.log10(step)) + 1
    return [(value, _figure(value, max(4, min(digits, 9)))) for value in values]


def _figure(value: float, digits: int = 4) -> str:
    return f"{value + 0.0:.{digits}g}".replace("e+0", "e").replace("e-0", "e-")


def _level(share: Any) -> Any:
    """Pixels from the top of a panel at which a share of the scale lies."""
    return _EDGE + (1 - np.clip(share, -0.03, 1.03)) * (_HEIGHT - 2 * _EDGE)


def _plot(sample: Array, ticks: list[tuple[float, str]], zero: float, dots: bool) -> Array:
    """A sample [C, L], of which 0 and 1 are the ends of the scale, as an image uint8 [3, H, W]."""
    from PIL import Image, ImageDraw

    width = _WIDTH * _FINE
    image = Image.new("RGB", (width, _HEIGHT * _FINE), "white")
    draw = ImageDraw.Draw(image)
    ground = float(_level(min(max(zero, 0), 1))) * _FINE
    for level in {round(share * _HEIGHT * _FINE) for share, _ in ticks} - {round(ground)}:
        draw.line([(0, level), (width, level)], fill=_GRID, width=_FINE)
    if 0 <= zero <= 1:
        draw.line([(0, round(ground)), (width, round(ground))], fill=_ZERO, width=_FINE)
    for channel, values in reversed(list(enumerate(sample[: len(COLOURS)]))):
        across, levels = _outline(values, width)
        points = list(zip(across.tolist(), (_level(levels) * _FINE).tolist(), strict=True))
        if dots:
            _draw_dots(draw, points, ground, COLOURS[channel])
        else:
            joint = (
                "curve" if len(points) < _WIDTH else None
            )  # of denser points nobody sees the joints, which take long
            draw.line(points, fill=COLOURS[channel], width=_STROKE, joint=joint)
    return np.asarray(image.resize((_WIDTH, _HEIGHT), Image.Resampling.BOX)).transpose(2, 0, 1)


def _outline(values: Array, width: int) -> tuple[Array, Array]:
    """Where the points of a line lie across a panel, and their values.

    Of several points on one column only the lowest and the highest are kept, because the line between them covers the others.
    """
    margin = max(2 * _FINE, round(width / len(values) / 2))
    if len(values) <= 2 * width:
        return np.linspace(margin, width - margin, len(values)) if len(values) > 1 else np.array([margin]), values
    starts = np.linspace(0, len(values), width - 2 * margin, endpoint=False).astype(int)
    both = np.stack([np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)], 1)
    both[1::2] = both[
        1::2, ::-1
    ]  # up in one column and down in the next, so that the line does not cross each column twice
    return np.arange(margin, width - margin).repeat(2).astype(float), both.ravel()


def _draw_dots(draw: Any, points: list[tuple[float, float]], ground: float, colour: str) -> None:
    """A dot for each value, on a thin stem from 0, or from the nearer end of the scale."""
    radius = 2.2 * _FINE
    for across, level in points:
        draw.line([(across, ground), (across, level)], fill=_STEM, width=_FINE)
    for across, level in points:
        draw.ellipse([across - radius, level - radius, across + radius, level + radius], fill=colour)
