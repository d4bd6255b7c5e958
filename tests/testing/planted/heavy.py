"""Imports torch at module level."""

from __future__ import annotations

import torch

from tests.testing.planted import fault


@fault("corruption", "imports_light", "import it inside the factory")
def imports_torch_at_the_top():
    "Does nothing, at a price."
    assert torch
    return lambda images, rng: images
