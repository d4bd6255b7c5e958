"""Runs and bundles that several tests of the workshop share."""

from __future__ import annotations

from pathlib import Path

import aepipe
import pytest
from aepipe.workshop.run import Run

from tests.helpers.images import blobs
from tests.helpers.settings import SMALL


@pytest.fixture(scope="session")
def colour_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Colour images, taller than wide."""
    images = blobs(channels=3, size=(5, 4))
    return aepipe.fit(images, out=tmp_path_factory.mktemp("runs") / "colour", **SMALL)


@pytest.fixture(scope="session")
def colour_bytes(colour_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return colour_run.export(tmp_path_factory.mktemp("exported") / "colour", io="uint8", show=False)


@pytest.fixture(scope="session")
def digits_bytes(digits_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return digits_run.export(tmp_path_factory.mktemp("exported") / "digits", io=("uint8",), show=False)


@pytest.fixture(params=["digits", "colour"])
def bundle(request: pytest.FixtureRequest) -> Path:
    """With graphs for bytes and for whole tasks."""
    return request.getfixturevalue(f"{request.param}_bytes")
