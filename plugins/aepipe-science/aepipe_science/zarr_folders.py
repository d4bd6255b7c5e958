"""Zarr folders of the versions 2 and 3 through zarr-python: one array of the folder, read by index."""

from __future__ import annotations

from typing import Any

from aepipe import BadInput

from .named_arrays import NamedArrays


def opened(path: str, name: str | None) -> NamedArrays:
    """The arrays of a folder, which may be one array itself; raises BadInput for what is none."""
    try:
        import zarr
    except ImportError as error:
        hint = "pip install 'aepipe-science[zarr]'"
        raise BadInput(f"{path} needs zarr, which is not installed", hint) from error
    try:
        found: Any = zarr.open(path, mode="r")
        whole = isinstance(found, zarr.Array)
        arrays = {"": found} if whole else dict(_arrays(found))
    except Exception as error:  # of many types, as for any damaged file
        why = " ".join(str(error).split()) or type(error).__name__
        raise BadInput(f"{path} is no Zarr folder that can be read: {why}", "repair or remove the folder") from None
    if whole and name is not None:
        raise BadInput(f"{path} is one array, and holds none by names", f"leave out [array={name}]")
    for array in arrays.values():
        _refuse_pickles(array, path)
    return NamedArrays(path, arrays, name, "FOLDER.zarr[array=NAME]")


def _arrays(group: Any) -> list[tuple[str, Any]]:
    return [(name, each) for name, each in group.members(max_depth=None) if hasattr(each, "shape")]


def _refuse_pickles(array: Any, path: str) -> None:
    """Raise BadInput for a codec that runs what it decodes: whoever made the folder could have it run anything."""
    codecs = [*(getattr(array, "filters", None) or ()), *(getattr(array, "compressors", None) or ())]
    if any("pickle" in f"{getattr(each, 'codec_id', '')} {type(each).__name__}".lower() for each in codecs):
        raise BadInput(f"{path} holds pickled objects", "save numeric arrays: pickled objects are never read")
