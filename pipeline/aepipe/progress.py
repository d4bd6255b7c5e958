"""Shows the progress of long work on stderr: a bar on a terminal, elsewhere a line every ten seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Advance", "progress", "say"]

SECONDS_BETWEEN_LINES = 10.0

Advance = Callable[..., None]  # advance(steps, note="loss 12.3")


def say(message: str) -> None:
    """Print a message for the user on stderr; stdout is for data."""
    print(message, file=sys.stderr, flush=True)


@contextmanager
def progress(what: str, total: int, *, show: bool = True) -> Iterator[Advance]:
    """Yield `advance(steps, note="")`, which reports steps that are done; `total` is the number of all steps."""
    if not show:
        yield lambda steps=1, note="": None
    elif sys.stderr.isatty():
        yield from _bar(what, total)
    else:
        yield from _lines(what, total)


def _bar(what: str, total: int) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total, note="")

        def advance(steps: int = 1, note: str | None = None) -> None:
            bar.update(task, advance=steps)
            if note is not None:
                bar.update(task, note=note)

        yield advance


def _lines(what: str, total: int) -> Iterator[Advance]:
    done, start = 0, time.monotonic()
    last = start

    def advance(steps: int = 1, note: str | None = None) -> None:
        nonlocal done, last
        done += steps
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES and done:
            last = now
            left = (now - start) * (total - done) / done
            say(f"{what}: {done} of {total}{', ' + note if note else ''}, {left:.0f} s left")

    yield advance
