"""Files of instruments as samples for aepipe. The modules that read them are imported when a file is opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from aepipe import hookimpl


@hookimpl
def register_readers(register: Any) -> None:
    register(tiff)


def tiff(path: str, *, pages: Literal["samples", "volume", "channels"] = "samples") -> Any:
    """TIFF files: 8 to 64 bits, floats, stacks, channels, the axes of OME and ImageJ.

    pages: what the pages of a file are: samples, the depth of a volume, or channels
    """
    from .tiff_files import Tiff

    return Tiff(path, pages) if Path(path).is_file() else None


def _tiff_writer(path: str | Path) -> Any:
    from .tiff_files import TiffFile

    return TiffFile(path)


vars(tiff).update(endings=(".tif", ".tiff"), writer=_tiff_writer)
