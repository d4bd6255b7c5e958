"""A loaded model: what it takes and what it refuses."""

from __future__ import annotations

from pathlib import Path

import aepipe
import numpy as np
import pytest
from aepipe.errors import AepipeError, BadInput


def test_threads_and_sizes_are_checked(kept_bundle: Path) -> None:
    for settings in ({"threads": 0}, {"threads": -1}, {"batch_size": 0}):
        with pytest.raises(BadInput):
            aepipe.load(kept_bundle, "cpu", **settings)


def test_a_failing_batch_is_explained(kept_bundle: Path) -> None:
    with aepipe.load(kept_bundle, "cpu") as model, pytest.raises(AepipeError, match="cpu failed in the decoder"):
        model.decode_batch(np.zeros((2, 5), np.float32))
