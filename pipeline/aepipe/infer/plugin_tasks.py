"""Tasks of plugins: what they get, and what is made of the file that they write."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePath

import numpy as np

from aepipe.errors import AepipeError, BadInput
from aepipe.files.out import check_apart, output_kind
from aepipe.files.staged import replacing
from aepipe.plugins import Choice
from aepipe.progress import say
from aepipe.runtime.model import Model

from .streams import Input, Reading


class Given:
    """The INPUT of a task of a plugin, read in batches."""

    def __init__(self, given: Input, name: str):
        self._given, self._name = given, name

    def __len__(self) -> int:
        return len(self._given.source)

    @property
    def paths(self) -> list[str] | None:
        """Where the samples are files, the relative path of each, by index."""
        return self._given.source.paths

    def batches(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield indices int64 [n], and samples float32 [n, C, *sides] as the methods of the model take them: those of bytes in
        0..1, others in the units of the training data. A sample that is left out (--skip-bad) has no row."""
        model = self._given.model
        for batch in self._given.read(self._name):
            yield batch.indices, model.in_units(batch.images)


def run_task(choice: Choice, model: Model, reading: Reading, out: str, *, input: str) -> None:
    """Run a task of a plugin, which writes one file; that takes the place of OUT when it is whole.

    Raises BadInput for an OUT that the task does not write, before the input is opened, and whatever the task raises.
    """
    component = choice.component
    task = choice.make()
    endings = getattr(task, "endings", None) or (PurePath(out).suffix.lower() or ".txt",)
    output_kind(out, tuple(each.removeprefix(".") for each in endings))
    if out == "-":
        raise BadInput(f"{component.name} writes a file", f"give a file that ends with {', '.join(endings)}")
    check_apart(out, input)
    given = Given(reading.open(input, model, "encoder", "decoder"), component.name)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / PurePath(out).name
        with component.running("", way_out=f"see 'aepipe infer {component.name} --help'"):
            said = task(model, given, path)
        if not path.is_file():
            raise AepipeError(f"{component} of {component.plugin} did not write OUT", component.report)
        with replacing(Path(out).expanduser()) as place:
            shutil.copyfile(path, place)
    say(f"{out}: {said if isinstance(said, str) else 'written'}")
