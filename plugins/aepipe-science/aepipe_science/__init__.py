"""Files of instruments as samples for aepipe. The modules that read them are imported when a file is opened."""

from __future__ import annotations

from os.path import isfile
from pathlib import Path
from typing import Any, Literal

from aepipe import hookimpl


@hookimpl
def register_readers(register: Any) -> None:
    register(tiff)
    register(hdf5)
    register(wav)
    register(nifti)
    register(zarr)


def tiff(path: str, *, pages: Literal["samples", "volume", "channels"] = "samples") -> Any:
    """TIFF files: 8 to 64 bits, floats, stacks, channels, the axes of OME and ImageJ.

    pages: what the pages of a file are: samples, the depth of a volume, or channels
    """
    from .tiff_files import Tiff

    return Tiff(path, pages) if isfile(path) else None  # noqa: PTH113  # a Path takes longer


def _tiff_writer(path: str | Path) -> Any:
    from .tiff_files import TiffFile

    return TiffFile(path)


vars(tiff).update(endings=(".tif", ".tiff"), writer=_tiff_writer)


def hdf5(path: str, *, member: str | None = None) -> Any:
    """One array of an HDF5 file, read by index; arrays named after train and test are these splits.

    member: the name of the array, which FILE[NAME] gives
    """
    from .hdf5_files import opened

    return opened(path, member) if Path(path).is_file() else None


def _hdf5_writer(path: str | Path) -> Any:
    from .hdf5_files import Hdf5File

    return Hdf5File(path)


vars(hdf5).update(endings=(".h5", ".hdf5"), writer=_hdf5_writer)


def wav(path: str) -> Any:
    "WAV files of 8 to 32 bits: signals."
    from .wav_files import Wav

    return Wav(path) if Path(path).is_file() else None


vars(wav).update(endings=(".wav",))


def nifti(path: str) -> Any:
    "NIfTI files: a volume [1, D, H, W], or a series of volumes, in the units of the file."
    from .nifti_files import Nifti

    return Nifti(path) if Path(path).is_file() else None


def _nifti_writer(path: str | Path, ending: str = ".nii") -> Any:
    from .nifti_files import NiftiFile

    return NiftiFile(path, compressed=ending == ".nii.gz")


vars(nifti).update(endings=(".nii", ".nii.gz"), writer=_nifti_writer)


def zarr(path: str, *, array: str | None = None) -> Any:
    """One array of a Zarr folder, read by index, chunk by chunk; arrays named after train and test are these splits.

    array: its name in a group, such as 0 or images/raw
    """
    from .zarr_folders import opened

    return opened(path, array) if Path(path).is_dir() else None


vars(zarr).update(endings=(".zarr",))
