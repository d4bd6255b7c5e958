"""What a run has to compute, and for a folder OUT how much of it a run that was stopped has left.

Only whole batches count as there, and they begin at the same indices in every run: a network's result may depend, in its last
bits, on what else is in the batch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import PIL

from aepipe import plugins
from aepipe.errors import BadInput
from aepipe.files.partial import Partial
from aepipe.files.staged import writing
from aepipe.progress import say
from aepipe.runtime.model import Model
from aepipe.runtime.providers import installed_runtimes


class Job:
    """The indices `part` in batches of `step`. `todo` are those to be computed, `bad` says of which images nothing can be made.

    `made_of` says what the results depend on, for a folder OUT.
    """

    def __init__(self, part: range, step: int, *, skip_bad: bool = False, made_of: dict[str, Any] | None = None):
        self.part, self.step, self.skip_bad, self.made_of = part, step, skip_bad, made_of or {}
        self.todo = [part]
        self.there = 0  # images that an earlier run has made
        self.bad: dict[int, str] = {}
        self._partial: Partial | None = None

    @property
    def left(self) -> int:
        """How many images are to be computed or tried."""
        return sum(map(len, self.todo))

    def lacks(self, index: int) -> bool:
        """Whether the batch that begins with this index is to be computed."""
        return any(index in each for each in self.todo)

    @contextmanager
    def continuing(self, partial: Partial, name: Callable[[int], str]) -> Iterator[None]:
        """Within the block, go on from what is there of the files that are called `name(index)`."""
        with partial:
            self._partial = partial
            if partial.begun:
                self._look(partial, name)
            yield

    def _look(self, partial: Partial, name: Callable[[int], str]) -> None:
        known = self._noted() if self.skip_bad else {}
        self.todo = []
        for start in self.part[:: self.step]:
            batch = range(start, min(start + self.step, self.part.stop))
            if all(index in known or partial.has(name(index)) for index in batch):
                for index in batch:
                    self.there += index not in known
                    if index in known:
                        self._say_bad(index, known[index])
                continue
            for index in batch:
                partial.drop(name(index))
            if self.todo and self.todo[-1].stop == start:
                batch = range(self.todo.pop().start, batch.stop)
            self.todo.append(batch)
        if self.there:
            say(f"continues: {self.there:,} of {len(self.part):,} images are there")

    def skip(self, index: int, error: BadInput) -> None:
        """Note an image that cannot be read."""
        if self._partial is not None:
            file = self._partial.folder / "bad.jsonl"
            with writing(self._partial.out), file.open("a", encoding="utf-8") as notes:
                notes.write(json.dumps([index, error.message]) + "\n")
        self._say_bad(index, error.message)

    def _say_bad(self, index: int, message: str) -> None:
        self.bad[index] = message
        say(f"skipped: {message}")

    def _noted(self) -> dict[int, str]:
        """The bad images that earlier runs have met. A line that was not written to its end is left out."""
        assert self._partial is not None
        found: dict[int, str] = {}
        try:
            lines = (self._partial.folder / "bad.jsonl").read_bytes().splitlines()
        except OSError:
            return found
        for line in lines:
            try:
                index, message = json.loads(line)
                found[int(index)] = str(message)
            except (ValueError, TypeError):
                continue
        return found


def made_of(model: Model, task: str, given: str, part: range, options: dict[str, Any]) -> dict[str, Any]:
    """All that the results of a task depend on; `given` is what `Source.state` says of its input."""
    versions = [f"numpy {np.__version__}", f"pillow {PIL.__version__}", *installed_runtimes()]
    versions += sorted({f"{each.distribution} {each.version}" for each in plugins.registry().plugins})
    return {
        "bundle": model.bundle.fingerprint,
        "task": task,
        "options": options,
        "input": [given, part.start, part.stop],
        "provider": [model.runs_on("decoder"), model.precision, model.threads],
        "batch size": model.batch_size,
        "versions": versions,
    }
