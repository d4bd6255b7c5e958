"""plugins/aepipe-flow and plugins/aepipe-matching: their own tests and the conformance kit, run as their authors would run them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.helpers.places import FLOW, MATCHING, ROOT
from tests.helpers.strangers import install_flow, install_real, with_path

pytestmark = [pytest.mark.trains, pytest.mark.slow]

SPECS = {
    "aepipe-flow": "density:flow:layers=2,hidden=8,epochs=5",
    "aepipe-matching": "density:matching:hidden=32,blocks=1,updates=150,steps=6",
}


def test_their_own_tests_and_the_conformance_kit_pass(tmp_path):
    install_flow(tmp_path)
    install_real(tmp_path, MATCHING)
    options = [word for name, spec in SPECS.items() for word in ("--aepipe-conformance", name, "--aepipe-spec", spec)]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", ROOT / "plugins", *options]
    command += [FLOW / "tests", MATCHING / "tests"]
    done = subprocess.run(command, cwd=tmp_path, env=with_path(tmp_path), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = int(done.stdout.rpartition(" passed")[0].rpartition("\n")[2])
    assert passed > 60, done.stdout


def test_list_shows_its_options_and_where_it_comes_from(tmp_path, cli):
    install_flow(tmp_path)
    text = cli("list", "density", "flow", env=with_path(tmp_path)).stdout
    assert "from aepipe-flow 0.1.0" in text and "RealNVP" in text
    for option in ("layers", "hidden", "epochs", "lr", "patience"):
        assert option in text
