"""How a hint names an option: as the command line writes it while a command runs, as Python does otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_commands = 0  # how many commands run in this process


@contextmanager
def command_line() -> Iterator[None]:
    """A block in which hints name options of the command line."""
    global _commands
    _commands += 1
    try:
        yield
    finally:
        _commands -= 1


def option(name: str, value: object = None) -> str:
    """An option for a hint: --image-size 64 or image_size=64; without a value --skip-bad or skip_bad=True."""
    if _commands:
        flag = f"--{name.replace('_', '-')}"
        return flag if value is None else f"{flag} {value}"
    return f"{name}={True if value is None else value!r}"


def choose(command: str, python: str) -> str:
    """The words for the interface in use."""
    return command if _commands else python
