"""Sessions that are opened when they are first needed, once each, whichever threads and forks of a process use them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from aepipe.process import never_freed, renew_after_fork

from .providers import Session

Key = TypeVar("Key", bound=Hashable)


class Sessions(Generic[Key]):
    """The sessions of one owner by key; `open` makes one.

    Threads share them. A forked child does not: it opens its own when it needs them, and those of its parent are neither used
    nor freed there.
    """

    def __init__(self, open: Callable[[Key], Session]):
        self._open = open
        self._begin()
        renew_after_fork(self)

    def _begin(self) -> None:
        self._opened: dict[Key, Session] = {}
        self._opening = threading.RLock()

    def __getitem__(self, key: Key) -> Session:
        session = self._opened.get(key)
        if session is not None:
            return session
        with self._opening:
            if key not in self._opened:
                self._opened[key] = self._open(key)
            return self._opened[key]

    def close(self) -> None:
        """Close all; the next use opens them again."""
        with self._opening:
            closing, self._opened = self._opened, {}
            for session in closing.values():
                session.close()

    def after_fork(self) -> None:
        never_freed(*self._opened.values())
        self._begin()
