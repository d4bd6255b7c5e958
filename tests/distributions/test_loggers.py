"""plugins/aepipe-loggers: its own tests, run as its author would run them, where TensorBoard or MLflow is installed."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest

from tests.helpers.places import LOGGERS
from tests.helpers.strangers import install_real, with_path

FOUND = [name for name in ("tensorboard", "mlflow") if find_spec(name)]
pytestmark = [pytest.mark.trains, pytest.mark.slow, pytest.mark.skipif(not FOUND, reason="no logger is installed")]


def test_its_own_tests_pass(tmp_path):
    install_real(tmp_path, LOGGERS)
    options = ["-p", "no:cacheprovider", "--rootdir", LOGGERS, "--aepipe-conformance", "aepipe-loggers"]
    command = [sys.executable, "-m", "pytest", *options, LOGGERS / "tests"]
    done = subprocess.run(command, cwd=tmp_path, env=with_path(tmp_path), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ("skipped" in done.stdout.splitlines()[-1]) == (len(FOUND) < 2)
