"""Names and paths as text that can be written down and shown."""

from __future__ import annotations


def readable(text: str) -> str:
    r"""A path as text that has a UTF-8: bytes of it that are none become \xNN."""
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()


def printable(text: str) -> str:
    r"""A text on one line, with what cannot be shown as \xNN or \uNNNN."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in readable(text))
