"""The errors that a user can cause or meet; each has one sentence, one hint and one exit code."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# What code that is not ours may raise: sys.exit included, Ctrl-C not, which stays the user's.
FOREIGN = (Exception, SystemExit)
LONGEST = 1000  # characters of a message
DEBUG = "AEPIPE_DEBUG=1 shows the traceback"


_on_command_line = False

# Commands stay as they are, because they can be typed into a shell by anyone; an option may have a value after it.
_COMMAND_OR_OPTION = re.compile(
    r"""(?P<command>'[^']*\s[^']*' | \b(?:aepipe|pip)\ [a-z]+\b[^;,]*) |
    (?<!\S)-(?P<letter>o)\b |
    --(?P<name>[a-z][a-z-]*[a-z])
    (?:[ ](?P<value>LO\.\.HI|[A-Z]+\b|\d[\w./]*|[a-z]+:\w+=\w+|(?:
        auto|cpu|cuda|dtype|fp16|fp32|image|int8|linear|mse|none|openvino|uint8)\b(?:,\w+)*))?""",
    re.VERBOSE,
)
_PLACEHOLDER = re.compile(r"N|\d+|(?!N[CDHWL]+$)[A-Z]+")  # or a number: no text in Python
_SWITCHES = ("overwrite", "private", "skip-bad")
_ALTERNATIVE = re.compile(r"(, or |; )")


@contextmanager
def command_line() -> Iterator[None]:
    """A block that the command line runs: hints of errors name options as they are typed there, and else as Python does."""
    global _on_command_line
    before, _on_command_line = _on_command_line, True
    try:
        yield
    finally:
        _on_command_line = before


def in_python(hint: str) -> str:
    """A hint for the command line with options as keyword arguments: --skip-bad becomes skip_bad=True."""

    def argument(found: re.Match[str]) -> str:
        if found["command"]:
            return found["command"]
        if found["letter"]:
            return "out"
        name, value = found["name"].replace("-", "_"), found["value"]
        if found["name"] in _SWITCHES:
            return f"{name}=True{f' {value}' if value else ''}"
        if not value:
            return name
        return f"{name}={value}" if _PLACEHOLDER.fullmatch(value) else f"{name}={value!r}"

    return _COMMAND_OR_OPTION.sub(argument, hint)


def as_typed(text: str) -> str:
    """Text with options as it is said where it is called: `--split` on the command line, `split` in Python."""
    return text if _on_command_line else in_python(text)


@contextmanager
def without_options(*names: str) -> Iterator[None]:
    """A block of the Python interface that has no such arguments: hints of its errors do not offer them."""
    try:
        yield
    except AepipeError as error:
        if not _on_command_line:
            error.hint = in_python(_not_offering(error.typed, names))
        raise


def _not_offering(hint: str, names: tuple[str, ...]) -> str:
    """A hint without those of its alternatives that name one of these options."""
    first, *others = _ALTERNATIVE.split(hint)
    parts = [("", first), *zip(others[::2], others[1::2], strict=True)]
    kept = [part for part in parts if not any(re.search(rf"--{name}\b", part[1]) for name in names)]
    return "".join(joint * bool(index) + text for index, (joint, text) in enumerate(kept))


class AepipeError(Exception):
    """Something went wrong that is not a bug.

    `message` says in one sentence what is wrong, `hint` says how to solve it: with options of the command line where that
    runs, else with Python's arguments. The command line prints both and exits with `exit_code`: 1 failed, 2 usage or bad
    input, 3 parity, 4 provider not available.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "", exit_code: int | None = None):
        super().__init__(message)
        self.message = _of_readable_length(message)
        self.typed = hint  # as on the command line
        self.hint = as_typed(hint)
        if exit_code is not None:
            self.exit_code = exit_code

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


def _of_readable_length(message: str) -> str:
    """A message may quote what somebody gave, which may be of any length: then its middle is left out."""
    return message if len(message) <= LONGEST else f"{message[: LONGEST // 2]}…{message[-LONGEST // 2 :]}"


class BadInput(AepipeError):
    """The user's input, option or file cannot be used. Exit code 2."""

    exit_code = 2


class ParityError(AepipeError):
    """An exported graph does not compute what the torch module computes: no bundle is written. Exit code 3."""

    exit_code = 3


class PrecisionRefused(AepipeError):
    """A precision costs more accuracy than it may: the bundle is written without it. Exit code 3."""

    exit_code = 3


class DensityRefused(AepipeError):
    """A density cannot be exported, or its graph differs from torch: the bundle is written without it. Exit code 3."""

    exit_code = 3


class ProviderUnavailable(AepipeError):
    """A provider that was asked for by name cannot run here. Exit code 4."""

    exit_code = 4


def shown(text: str) -> str:
    """Text of a stranger as a terminal may show it: control characters and those that turn the reading direction are spelled
    out (\\x1b, \\u202e), so that nothing in a file's name or content can act on the terminal or mislead the reader."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in "\n\u00a0\u3000" else _spelled(each) for each in text)


def _spelled(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"


def closest(name: object, known: list[str]) -> str:
    """A hint that lists the known names; a known name that is similar to `name` is suggested first."""
    from difflib import get_close_matches

    near = get_close_matches(str(name), known, n=1)
    listing = f"known: {', '.join(known)}" if known else "there are none"
    return f"did you mean {near[0]!r}? {listing}" if near else listing


def one_line(error: BaseException, most: int = 300) -> str:
    """An error as one line of at most `most` characters: its type and what it says."""
    text = " ".join(str(error).split())
    text = text if len(text) <= most else f"{text[: most - 1]}…"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@contextmanager
def foreign(
    failing: str,
    hint: str,
    *,
    kind: type[AepipeError] = AepipeError,
    refusing: str | None = None,
    way_out: str = "",
    say: Callable[[BaseException], str] = one_line,
) -> Iterator[None]:
    """A block that calls code which is not ours: a plugin, the user's module, a runtime.

    Errors of aepipe pass. Every other error becomes one of `kind`: `failing`, then what `say` makes of the error; it ends in
    `hint`. Where `refusing` is given, a ValueError is the code's way to refuse what the user has given, and becomes BadInput:
    `refusing`, then the error's own text; it ends in `way_out`.
    """
    try:
        yield
    except AepipeError:
        raise
    except FOREIGN as error:
        if refusing is not None and isinstance(error, ValueError):
            raise BadInput(f"{refusing}: {error}", way_out) from error
        raise kind(f"{failing}: {say(error)}", hint) from error
