"""plugins/aepipe-flow: its own tests and the conformance kit, run as its author would run them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.helpers.places import FLOW
from tests.helpers.strangers import install_flow, with_path

pytestmark = [pytest.mark.trains, pytest.mark.slow]

SPEC = "density:flow:layers=2,hidden=8,epochs=5"


def test_its_own_tests_and_the_conformance_kit_pass(tmp_path):
    install_flow(tmp_path)
    options = ["-p", "no:cacheprovider", "--aepipe-conformance", "aepipe-flow", "--aepipe-spec", SPEC]
    command = [sys.executable, "-m", "pytest", "--rootdir", FLOW, *options, FLOW / "tests"]
    done = subprocess.run(command, cwd=tmp_path, env=with_path(tmp_path), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = int(done.stdout.rpartition(" passed")[0].rpartition("\n")[2])
    assert passed > 30 and "2 skipped" in done.stdout.splitlines()[-1]  # of labels, which a flow is not told


def test_list_shows_its_options_and_where_it_comes_from(tmp_path, cli):
    install_flow(tmp_path)
    text = cli("list", "density", "flow", env=with_path(tmp_path)).stdout
    assert "from aepipe-flow 0.1.0" in text and "RealNVP" in text
    for option in ("layers", "hidden", "epochs", "lr", "patience"):
        assert option in text
