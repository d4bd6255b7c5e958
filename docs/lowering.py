"""Draws the figure of lowering.md: python docs/lowering.py [OUT.png]"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

PHASES = ("#2a6f97", "#d1495b")  # even and odd positions of the output
INK, PALE, NOTHING = "#22303c", "#eef1f4", "#ffffff"
INPUTS, KERNEL, STRIDE = 4, 4, 2
OUTPUTS = STRIDE * (INPUTS - 1) + KERNEL


def box(axes: Axes, x: float, y: float, text: str, colour: str = PALE, *, dashed: bool = False) -> None:
    """Draw a cell of a row; it is one unit wide."""
    style = {"linestyle": "--", "linewidth": 0.8} if dashed else {"linewidth": 1.0}
    axes.add_patch(plt.Rectangle((x - 0.42, y - 0.28), 0.84, 0.56, facecolor=colour, edgecolor=INK, **style))
    axes.text(x, y, text, ha="center", va="center", fontsize=9, color="white" if colour in PHASES else INK)


def line(axes: Axes, start: tuple[float, float], end: tuple[float, float], phase: int, label: str = "") -> None:
    (x0, y0), (x1, y1) = start, end
    axes.plot([x0, x1], [y0 - 0.28, y1 + 0.28], color=PHASES[phase], linewidth=1.1, zorder=0)
    if label:
        x, y = x0 + 0.45 * (x1 - x0), y0 - 0.28 + 0.45 * (y1 - y0 + 0.56)
        plain = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
        axes.text(x, y, label, fontsize=8, color=PHASES[phase], ha="center", va="center", bbox=plain)


def scattered(axes: Axes) -> None:
    """Draw the usual definition of a transposed convolution: every input adds a kernel to the output."""
    above = [1.5 + STRIDE * j for j in range(INPUTS)]
    for j, x in enumerate(above):
        for tap in range(KERNEL):
            line(axes, (x, 3), (STRIDE * j + tap, 0), tap % STRIDE, f"$w_{tap}$" if j == 1 else "")
        box(axes, x, 3, f"$x_{j}$")
    for o in range(OUTPUTS):
        box(axes, o, 0, f"$y_{o}$", PHASES[o % STRIDE])
    axes.set_title("ConvTranspose, kernel 4, stride 2: each input adds a kernel", fontsize=10, color=INK)


def gathered(axes: Axes) -> None:
    """Draw the same as one convolution with two channels, one for each phase, which are then interleaved."""
    for j in range(-1, INPUTS + 1):
        inside = 0 <= j < INPUTS
        box(axes, 1.5 + STRIDE * j, 3, f"$x_{j}$" if inside else "0", PALE if inside else NOTHING, dashed=not inside)
    for phase in range(STRIDE):
        for q in range(OUTPUTS // STRIDE):
            x, y = STRIDE * q + phase, 1.35
            for step, tap in ((0, phase), (1, phase + STRIDE)):
                label = f"$w_{tap}$" if q == 2 else ""
                line(axes, (1.5 + STRIDE * (q - step), 3), (x, y), phase, label)
            box(axes, x, y, f"$z^{phase}_{q}$", PHASES[phase])
            line(axes, (x, y), (x, 0), phase)
    for o in range(OUTPUTS):
        box(axes, o, 0, f"$y_{o}$", PHASES[o % STRIDE])
    axes.text(OUTPUTS - 0.3, 1.35, "Conv: 2 channels,\nkernel 2, stride 1", fontsize=8, color=INK, va="center")
    axes.text(OUTPUTS - 0.3, 0, "DepthToSpace", fontsize=8, color=INK, va="center")
    axes.set_title("The same numbers as a Conv: each phase reads two inputs", fontsize=10, color=INK)


def main() -> None:
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".png")
    figure, rows = plt.subplots(2, 1, figsize=(8.6, 6.2), dpi=140)
    for axes, draw in zip(rows, (scattered, gathered), strict=True):
        draw(axes)
        axes.set(xlim=(-1.2, OUTPUTS + 1.9), ylim=(-0.5, 3.5))
        axes.set_aspect("equal")
        axes.axis("off")
    figure.tight_layout()
    figure.savefig(out)
    print(out)


if __name__ == "__main__":
    main()
