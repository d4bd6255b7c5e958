"""Reading codes, as `aepipe infer encode` writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .errors import BadInput

WRITE = "give .npy or .npz with [N, d] numbers, as 'aepipe infer encode' writes them"


def load_codes(path: str, limit: int | None = None) -> np.ndarray:
    """An array of codes from .npy (memory-mapped) or .npz (`codes`, else its first array); raises BadInput."""
    file = Path(path)
    if not file.exists():
        raise BadInput(f"there is no file {path!r}", "make codes with 'aepipe infer encode'")
    try:
        with file.open("rb") as head:
            known = head.read(4) in (b"\x93NUM", b"PK\x03\x04")
        if not known:
            raise BadInput(f"{path} is neither .npy nor .npz", WRITE)
        loaded = np.load(file, mmap_mode="r", allow_pickle=False)
        array = loaded if isinstance(loaded, np.ndarray) else loaded["codes" if "codes" in loaded else loaded.files[0]]
        return array[:limit]
    except BadInput:
        raise
    except Exception as error:  # the readers raise whatever a damaged file leads them to
        why = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        why = "it holds Python objects" if "allow_pickle" in why or "pickled" in why else why
        raise BadInput(f"{path} holds no codes: {why}", WRITE) from None
