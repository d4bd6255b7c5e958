"""How a graph that was read and checked gets to a provider: the checked bytes themselves, whatever lies at their path now."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aepipe.errors import AepipeError, BadInput
from aepipe.plugins.calling import names_of
from aepipe.process import limited_cores

MOST_THREADS = 1024  # of one graph


def open_graph(
    provider: Any,
    path: Path,
    content: bytes,
    beside: Mapping[str, bytes] | None = None,
    *,
    threads: int | None = None,
    batch: int | None = None,
) -> Any:
    """A session of exactly these bytes, whatever happens to the file at `path` meanwhile; messages name the path.

    `beside` is external data by file name. A provider whose `open` has no parameter `content`, and any graph with external data, is
    given the path of a private copy. Without `threads` the limits of the process hold, where it has any.
    """
    if threads is not None and threads > MOST_THREADS:  # the system may have no threads left then, for any process
        raise BadInput(
            f"{threads} threads are more than {MOST_THREADS}", "leave out --threads: there is one for each core"
        )
    threads = threads or limited_cores()
    if not beside and "content" in names_of(provider.open):
        return provider.open(path, threads=threads, batch=batch, content=content)
    with tempfile.TemporaryDirectory(prefix="aepipe-", ignore_cleanup_errors=True) as folder:
        private = Path(folder) / path.name
        _write_all(folder, {path.name: content, **(beside or {})}, path)
        try:
            return provider.open(private, threads=threads, batch=batch)
        except AepipeError as error:
            error.message = error.message.replace(str(private), str(path))
            raise


def _write_all(folder: str, files: Mapping[str, bytes], path: Path) -> None:
    try:
        for name, content in files.items():
            copy = Path(folder, name)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(content)
    except OSError as error:
        message = f"a private copy of {path} cannot be written to {folder}: {error.strerror}"
        raise AepipeError(message, "make room there, or name another folder with TMPDIR") from error


def still_open(session: Any) -> Any:
    """A session of ONNX Runtime; raises AepipeError if it is None."""
    if session is None:
        raise AepipeError("this session was closed, or was opened before the process forked", "open it again")
    return session
