"""Shows the progress of long work on stderr: a bar on a terminal, elsewhere a line every ten seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from aepipe.errors import shown

__all__ = ["Advance", "progress", "say"]

SECONDS_BETWEEN_LINES = 10.0

Advance = Callable[..., None]  # advance(steps, note="loss 12.3")


def say(message: str) -> None:
    """Print a message for the user on stderr; stdout is for data.

    A message never stops the work: where there is no stderr, as in a Windows service, or it cannot be written, it is dropped.
    """
    if sys.stderr is None:
        return
    text = shown(message)
    with suppress(OSError, ValueError):  # a full disk, a closed stream
        try:
            print(text, file=sys.stderr, flush=True)
        except UnicodeEncodeError:
            print(text.encode("ascii", "backslashreplace").decode(), file=sys.stderr, flush=True)


def is_terminal(stream: Any) -> bool:
    """Whether a stream is a terminal; what stands in for one, such as a logger, need not even have the question."""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):
        return False


@contextmanager
def progress(what: str, total: int, *, show: bool = True) -> Iterator[Advance]:
    """Yield `advance(steps, note="")`, which reports steps that are done; `total` is the number of all steps."""
    if not show:
        yield lambda steps=1, note="": None
    elif is_terminal(sys.stderr):
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
