"""Files from the network: fetched with progress, kept whole in the cache folder."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from urllib.request import Request, urlopen

from aepipe.errors import AepipeError

from .out import as_path

TIMEOUT = 20.0  # a download fails after so many seconds without a byte


def sha256_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def cache_folder() -> Path:
    """The folder AEPIPE_CACHE, else the folder `aepipe` in the platform's folder for caches."""
    if given := os.environ.get("AEPIPE_CACHE"):
        return as_path(given)
    if sys.platform == "darwin":
        base = "~/Library/Caches"
    elif os.name == "nt":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return as_path(base) / "aepipe"


def fetch(url: str, what: str) -> bytes:
    """The body at a URL, with a progress bar where stderr is a terminal and one line elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        console.print(f"downloading {url}", soft_wrap=True, highlight=False, markup=False)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    request = Request(url, headers={"User-Agent": "aepipe"})
    with urlopen(request, timeout=TIMEOUT) as response, bar:
        size = int(response.headers.get("Content-Length") or 0)
        task = bar.add_task(what, total=size or None)
        parts = []
        while part := response.read(1 << 16):
            parts.append(part)
            bar.advance(task, len(part))
    return b"".join(parts)


def make_folder(folder: Path) -> None:
    """Make the cache folder, before anything is downloaded for it; raises AepipeError where it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        usable, why = os.access(folder, os.W_OK), "no permission to write"
    except OSError as error:
        usable, why = False, error.strerror or str(error)
    if not usable:
        raise AepipeError(f"the cache folder {folder} cannot be used: {why}", "name another in AEPIPE_CACHE")


def keep(content: bytes, path: Path) -> None:
    """Write under another name, then rename: so the file is there whole or not at all, even if two processes write it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror}"
        raise AepipeError(message, "name another folder in AEPIPE_CACHE") from None
    finally:
        temporary.unlink(missing_ok=True)
