"""The errors that a user can cause or meet; each has one sentence, one hint and one exit code."""

from __future__ import annotations


class AepipeError(Exception):
    """Something went wrong that is not a bug.

    `message` says in one sentence what is wrong, `hint` says how to solve it. The command line prints both and exits with
    `exit_code`: 1 failed, 2 usage or bad input, 3 parity, 4 provider not available.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "", exit_code: int | None = None):
        super().__init__(message)
        self.message = message
        self.hint = hint
        if exit_code is not None:
            self.exit_code = exit_code

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class BadInput(AepipeError):
    """The user's input, option or file cannot be used."""

    exit_code = 2


class ParityError(AepipeError):
    """An exported graph does not compute what the torch module computes."""

    exit_code = 3


class ProviderUnavailable(AepipeError):
    """A provider that was asked for by name cannot run here."""

    exit_code = 4


def closest(name: str, known: list[str]) -> str:
    """A hint that lists the known names; a known name that is similar to `name` is suggested first."""
    from difflib import get_close_matches

    near = get_close_matches(name, known, n=1)
    listing = f"known: {', '.join(known)}" if known else "there are none"
    return f"did you mean {near[0]!r}? {listing}" if near else listing
