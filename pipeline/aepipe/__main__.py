"""`python -m aepipe` and the console script."""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import Any


class Terminated(KeyboardInterrupt):
    """The system asked the process to end: whatever cleans up after Ctrl-C cleans up after this too."""

    def __init__(self, number: int):
        super().__init__()
        self.exit_code = 128 + number


def main() -> None:
    """Run the command line as a process of its own: its signals and its streams are ours."""
    # Importing torch leaves a million objects that stay. To look through them often takes an eighth of the time of an export.
    gc.set_threshold(100_000, 50, 1000)
    _open_closed_streams()
    _end_as_by_ctrl_c()
    from .cli import run

    code = run()
    sys.exit(_flushed(code))


def _open_closed_streams() -> None:
    """Stdin, stdout and stderr that are closed go nowhere. Else the next file that is opened would take their number, and what a
    library prints would end up in it."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _end_as_by_ctrl_c() -> None:
    """SIGTERM (a scheduler, a container) and SIGHUP (a closed terminal) end the work as Ctrl-C does, which leaves nothing half
    written. A signal that is ignored, as under nohup, stays so."""

    def end(number: int, frame: Any) -> None:
        raise Terminated(number)

    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, end)


def _flushed(code: int) -> int:
    """The exit code, or 1 where what was printed could not be written: a full disk is not found before the end."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader has what it wanted
        pass
    except OSError as error:
        from .progress import say

        say(f"error: stdout cannot be written: {error.strerror}")
        code = code or 1
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still in the buffer would be reported again, as a traceback
    return code


if __name__ == "__main__":
    main()
