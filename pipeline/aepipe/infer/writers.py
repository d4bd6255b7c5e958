"""Writers of results, streamed and never half there.

Every writer is a context manager. It writes to a temporary place on the file system of its target; leaving normally
renames that into place, leaving by an exception removes it and leaves what was there before untouched. An OSError of
writing (disk full, no permission) becomes an AepipeError that names the path and the cause.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import os
import queue
import shutil
import sys
import threading
import zipfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import numpy as np

from aepipe.errors import AepipeError, BadInput
from aepipe.files.out import result_name, result_names
from aepipe.files.partial import Partial, check_free
from aepipe.files.staged import Staged, replacing, writing
from aepipe.images.pixels import as_bytes
from aepipe.images.readers import Writing
from aepipe.process import cores
from aepipe.space import Sides

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a cell that begins so is a formula to a spreadsheet


class ArrayWriter:
    """Rows streamed into one array, .npy or .npz (member `key`); shape [rows, …] and dtype as in the first write, if
    there is none [0, *row] of `dtype`."""

    def __init__(
        self, path: str | os.PathLike[str], key: str = "images", row: Sides = (), dtype: str | np.dtype[Any] = "float32"
    ):
        self.path, self.key = path, key
        self._shape = tuple(side or 1 for side in row)
        self._dtype = np.dtype(dtype)
        self._rows, self._start = 0, 0
        self._labels: list[tuple[Any, Any]] = []

    def __enter__(self) -> ArrayWriter:
        self._staged = Staged(self.path)
        with writing(self.path):
            self._file: IO[bytes] = self._staged.temporary.open("w+b")
        return self

    def write(self, rows: np.ndarray) -> None:
        """Appends rows [n, …]; n may be 0."""
        rows = np.ascontiguousarray(rows)
        with writing(self.path):
            if not self._start:
                self._shape, self._dtype = rows.shape[1:], rows.dtype
                self._header()
            if rows.shape[1:] != self._shape:
                message = f"results of shapes {list(self._shape)} and {list(rows.shape[1:])} do not make one array"
                raise BadInput(
                    message, "give images of one size, or --limit 1; a task that makes images takes a folder as OUT"
                )
            if rows.size:
                self._file.write(rows.astype(self._dtype, copy=False).data)
            self._rows += len(rows)

    def label(self, indices: Any, names: Any = None) -> None:
        """Says of which images of the input the next rows are; an .npz keeps it as `indices` and `names`."""
        self._labels.append((indices, names))

    def _header(self) -> None:
        # numpy pads its header so that the first axis can grow in place
        self._file.seek(0)
        header = {
            "descr": np.lib.format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (self._rows, *self._shape),
        }
        np.lib.format.write_array_header_1_0(self._file, header)
        if self._start not in (0, self._file.tell()):
            raise RuntimeError("numpy's header has changed its length")
        self._start = self._file.tell()

    def _zip(self) -> None:
        with replacing(self.path) as archive, zipfile.ZipFile(archive, "w") as file:
            with file.open(f"{self.key}.npy", "w", force_zip64=True) as out:
                self._copy(out)
            for key, array in self._beside().items():
                with file.open(f"{key}.npy", "w") as out:
                    np.lib.format.write_array(out, array, allow_pickle=False)

    def _copy(self, out: IO[bytes]) -> None:
        """Write all rows, with their header, as a member of an .npz."""
        self._file.seek(0)
        shutil.copyfileobj(self._file, out, 1 << 20)

    def _beside(self) -> dict[str, np.ndarray]:
        """Further members, by name."""
        if not self._labels:
            return {}
        indices, names = zip(*self._labels, strict=True)
        found = {"indices": np.concatenate(indices).astype(np.int64)}
        if not any(each is None for each in names):
            found["names"] = np.array([each for part in names for each in part], np.str_)
        return found

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                with writing(self.path):
                    self._header()
                    self._file.flush()
                    if os.fspath(self.path).lower().endswith(".npz"):
                        self._zip()
                    else:
                        self._file.close()
                        self._staged.commit()
        finally:
            with contextlib.suppress(OSError):  # what cannot be flushed is thrown away anyway
                self._file.close()
            self._staged.discard()


class FolderWriter:
    """One file per sample in a new or empty folder: a PNG of images [n,C,H,W] in 0..1 with C = 1 or 3, or what `writing` makes of
    samples [n, C, *sides].

    `names` gives the input's relative path by index, as a list or a function. "a/b.jpg" becomes a/b.png; of names that
    would collide (x.jpg, x.png) each keeps its ending (x.jpg.png, x.png.png). With `partial` the files are collected there,
    and may be continued. Raises BadInput for a folder that is not empty, a name that leaves it and another number of channels.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        names: Sequence[str] | Callable[[int], str],
        partial: Partial | None = None,
        writing: Writing | None = None,
    ):
        self.path, self._partial, self._form = path, partial, writing
        ending = writing.ending if writing else ".png"
        self.name = (
            (lambda index: result_name(names(index), ending))
            if callable(names)
            else result_names(names, ending).__getitem__
        )

    def __enter__(self) -> FolderWriter:
        with writing(self.path):
            if self._partial is None:
                check_free(Path(self.path).expanduser().resolve())
            self._staged = self._partial or Staged(self.path, folder=True)
            self._staged.temporary.mkdir(exist_ok=True)
        self._workers = min(4, cores())
        self._pool = ThreadPoolExecutor(self._workers)
        return self

    def write(self, indices: Sequence[int] | np.ndarray, images: np.ndarray) -> None:
        """Writes image k under the name of input indices[k]."""
        data = images if self._form else _pixels(images)
        jobs = [(self.name(int(index)), image) for index, image in zip(indices, data, strict=True)]
        with writing(self.path):
            shares = [jobs[start :: self._workers] for start in range(self._workers)]
            list(self._pool.map(self._encode, shares))

    def _encode(self, jobs: list[tuple[str, np.ndarray]]) -> None:
        from PIL import Image

        for name, image in jobs:
            path = self._staged.temporary / name
            if self._form is not None:
                _write_sample(path, image, self._form)
                continue
            try:
                file = path.open("xb")  # it fails if the file exists, so that no result replaces another
            except FileNotFoundError:
                path.parent.mkdir(parents=True, exist_ok=True)
                file = path.open("xb")
            with file:
                Image.fromarray(image).save(file, "PNG", compress_level=1)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self._pool.shutdown(cancel_futures=True)
            if kind is None:
                with writing(self.path):
                    self._staged.commit()
        finally:
            self._staged.discard()


def _pixels(images: np.ndarray) -> np.ndarray:
    """Images as Pillow takes them: bytes [n, H, W], or [n, H, W, 3]."""
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise BadInput(
            f"Samples of shape {list(images.shape[1:])} cannot be written as PNG files", "write .npy or .npz"
        )
    data = as_bytes(images)
    return np.ascontiguousarray(data[:, 0] if data.shape[1] == 1 else data.transpose(0, 2, 3, 1))


def _write_sample(path: Path, sample: np.ndarray, form: Writing) -> None:
    """One file of a reader's form, which gets its name when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        raise FileExistsError(errno.EEXIST, "two results have one name", str(path))
    part = path.with_name(path.name + ".part")
    with form.open(part) as file:
        file.write(sample[None])
    part.replace(path)


class FormWriter:
    """Samples streamed into one file of a reader's form."""

    def __init__(self, path: str | os.PathLike[str], form: Writing):
        self.path, self._form = path, form

    def __enter__(self) -> FormWriter:
        self._stack = contextlib.ExitStack()
        temporary = self._stack.enter_context(replacing(self.path))
        self._file = self._stack.enter_context(self._form.open(temporary))
        return self

    def write(self, samples: np.ndarray) -> None:
        """Appends samples [n, C, *sides]."""
        with writing(self.path):
            self._file.write(samples)

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)


class CsvWriter:
    """A table with a header line, UTF-8; `path` None or "-" is stdout, where nothing can be taken back."""

    def __init__(self, path: str | os.PathLike[str] | None, columns: Sequence[str]):
        self.path = None if path in (None, "-") else path
        self.columns = list(columns)

    def __enter__(self) -> CsvWriter:
        if self.path is None and sys.stdout is None:
            raise AepipeError("Cannot write stdout: it is closed", "write to a file instead")
        self._file: IO[str] = sys.stdout
        if self.path is not None:
            self._staged = Staged(self.path)
            with writing(self.path):
                # file names that are not UTF-8 come back out as the bytes they were
                self._file = self._staged.temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape")
        self._csv: Any = csv.writer(self._file, lineterminator="\n")
        self._put([self.columns])
        return self

    def write(self, rows: Mapping[str, Sequence[Any] | np.ndarray]) -> None:
        """Appends rows, given as columns of equal length; float32 is written with the fewest digits that are exact.

        Texts that a spreadsheet would take for a formula get a quote in front, by which it takes them for text.
        """
        self._put(zip(*(_as_text(rows[column]) for column in self.columns), strict=True))

    def _put(self, lines: Any) -> None:
        with writing(self.path or "stdout"):
            self._csv.writerows(lines)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self.path is None:
            if kind is None:
                with writing("stdout"):
                    self._file.flush()
            return
        try:
            if kind is None:
                with writing(self.path):
                    self._file.close()
                    self._staged.commit()
        finally:
            with contextlib.suppress(OSError):
                self._file.close()
            self._staged.discard()


def _as_text(column: Sequence[Any] | np.ndarray) -> Sequence[Any] | np.ndarray:
    if not len(column) or not isinstance(column[0], str):
        return column
    return [f"'{each}" if each[:1] in FORMULA else each for each in column]


class Background:
    """Runs `writer.write` in one thread behind a queue of two, so that computing and writing overlap.

    An error of the writer is raised by the next put() or by close(); what is still queued then is dropped. As a context
    manager inside the writer's: leaving by an exception drops the queue, leaving normally waits for it.

    The queues are SimpleQueues, because a signal may come in the middle of put(): a Queue would keep its lock, and close() would
    wait for ever.
    """

    def __init__(self, writer: Any):
        self._write = writer.write
        self._queue: queue.SimpleQueue[tuple[Any, ...] | None] = queue.SimpleQueue()
        self._room: queue.SimpleQueue[None] = queue.SimpleQueue()  # as many as there is room for
        for _ in range(2):
            self._room.put(None)
        self._error: BaseException | None = None
        self._drop = False
        self._thread = threading.Thread(target=self._run, name="aepipe-writer", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while (arguments := self._queue.get()) is not None:
            self._room.put(None)
            if self._drop:
                continue  # the queue is emptied to the end: put() can never wait for a thread that has gone
            try:
                self._write(*arguments)
            except BaseException as error:
                self._error, self._drop = error, True

    def put(self, *arguments: Any) -> None:
        """Queues writer.write(*arguments); waits while two are queued. Arrays must not be changed afterwards."""
        if self._error is not None:
            raise self._error
        if not self._thread.is_alive():
            raise RuntimeError("put() to a writer that is closed")
        self._room.get()
        self._queue.put(arguments)

    def close(self) -> None:
        """Waits until everything is written. Raises what the writer raised."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Background:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self._drop = True
            with contextlib.suppress(BaseException):
                self.close()
