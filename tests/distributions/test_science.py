"""plugins/aepipe-science: its own tests and the conformance kit, run as its author would run them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.helpers.places import SCIENCE
from tests.helpers.strangers import install_real, with_path

pytestmark = [pytest.mark.trains, pytest.mark.slow]


def test_its_own_tests_and_the_conformance_kit_pass(tmp_path):
    for needed in ("tifffile", "h5py"):
        pytest.importorskip(needed)
    install_real(tmp_path, SCIENCE)
    options = ["-p", "no:cacheprovider", "--aepipe-conformance", "aepipe-science"]
    command = [sys.executable, "-m", "pytest", "--rootdir", SCIENCE, *options, SCIENCE / "tests"]
    done = subprocess.run(command, cwd=tmp_path, env=with_path(tmp_path), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
