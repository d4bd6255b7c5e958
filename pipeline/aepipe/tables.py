"""Tables on stdout."""

from __future__ import annotations

import click

from aepipe.errors import shown
from aepipe.progress import is_terminal


def print_table(header: list[str], lines: list[list[str]]) -> None:
    """Print a table on stdout. Long cells are wrapped to fit a terminal; in a pipe or a file they are never wrapped."""
    import shutil
    import sys
    from itertools import zip_longest
    from textwrap import wrap

    if sys.stdout is None:
        return
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    lines = [[shown(cell).encode(encoding, "replace").decode(encoding) for cell in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(header, *lines, strict=True)]
    if is_terminal(sys.stdout):
        room = shutil.get_terminal_size().columns - 2 * (len(widths) - 1)
        while sum(widths) > room and max(widths) > 12:
            widths[widths.index(max(widths))] -= 1
    if any(header):
        lines = [header, ["-" * width for width in widths], *lines]
    for line in lines:
        cells = [wrap(cell, max(width, 1), break_on_hyphens=False) for cell, width in zip(line, widths, strict=True)]
        for row in zip_longest(*cells, fillvalue=""):
            click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
