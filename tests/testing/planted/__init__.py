"""Components with exactly one fault each, for the tests of the conformance kit.

Each factory is noted with the check that must find it, words that the finding must say, and checks that cannot but find it too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Fault(NamedTuple):
    kind: str
    factory: Callable[..., Any]
    check: str
    words: str
    also: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.kind}-{self.check}-{self.factory.__name__}"


FAULTS: list[Fault] = []


def fault(kind: str, check: str, words: str, *also: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def note(factory: Callable[..., Any]) -> Callable[..., Any]:
        FAULTS.append(Fault(kind, factory, check, words, also))
        return factory

    return note
