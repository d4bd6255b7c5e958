"""Reading .npy and .npz files, or saying in one sentence why that cannot be done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from aepipe.errors import AepipeError, BadInput

from .regular import FILE, check_regular


@contextmanager
def reading(what: str, hint: str) -> Iterator[None]:
    """Turn whatever NumPy's and gzip's readers raise for a damaged file, which is almost anything, into BadInput.

    The message is `what` followed by the cause; aepipe's own errors of the block pass.
    """
    try:
        yield
    except AepipeError:
        raise
    except PermissionError as error:
        raise BadInput(f"{what}: {error.strerror}", "check its permissions") from None
    except Exception as error:
        why = (isinstance(error, OSError) and error.strerror) or " ".join(str(error).split()) or type(error).__name__
        if "allow_pickle" in why or "pickled" in why or "Python objects" in why:
            why, hint = "it holds Python objects", "save numeric arrays: pickled objects are never read"
        raise BadInput(f"{what}: {why}", hint) from None


def read_arrays(path: Path, hint: str) -> dict[str, np.ndarray]:
    """All arrays of an .npz file by name; raises BadInput that ends in `hint`."""
    with reading(f"{path} cannot be read", hint):
        check_regular(path, FILE)
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
