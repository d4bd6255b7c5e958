"""Does a lot of work when it is imported."""

from __future__ import annotations

import time

from tests.testing.planted import fault

STARTED = time.process_time()
while time.process_time() < STARTED + 0.5:
    pass


@fault("corruption", "imports_light", "move work and large imports into the factory")
def computes_when_imported():
    "Does nothing, late."
    return lambda images, rng: images
