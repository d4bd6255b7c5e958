"""plugins/aepipe-signals: its own tests and the conformance kit, run as its author would run them; and it trains."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.helpers.bundles import manifest_of
from tests.helpers.places import SIGNALS
from tests.helpers.strangers import install_real, with_path

pytestmark = [pytest.mark.trains, pytest.mark.slow]


def test_its_own_tests_and_the_conformance_kit_pass(tmp_path):
    install_real(tmp_path, SIGNALS)
    options = ["-p", "no:cacheprovider", "--aepipe-conformance", "aepipe-signals"]
    command = [sys.executable, "-m", "pytest", "--rootdir", SIGNALS, *options, SIGNALS / "tests"]
    done = subprocess.run(command, cwd=tmp_path, env=with_path(tmp_path), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = int(done.stdout.rpartition(" passed")[0].rpartition("\n")[2])
    assert passed > 50 and "skipped" not in done.stdout.splitlines()[-1]


def test_the_command_line_trains_on_it_without_being_told_the_range(tmp_path, cli):
    install_real(tmp_path / "path", SIGNALS)
    env, run, bundle = with_path(tmp_path / "path"), tmp_path / "run", tmp_path / "bundle"
    small = ("--encoder", "mlp:hidden=16", "--decoder", "mlp:hidden=16", "--latent-dim", 3, "--epochs", 1)
    data = "pulses:count=200"
    cli("train", "--data", data, "--corrupt", "electronic:sigma=0.1", *small, "-o", run, env=env)
    cli("export", run, "-o", bundle, env=env)
    entries = manifest_of(bundle)
    assert entries["data"]["kind"] == "signal" and entries["data"]["range"] is None
    found = json.loads(cli("eval", bundle, "--data", data, "--normal", 0, "--json", env=env).stdout)
    assert 0 <= found["auroc"]["error"] <= 1
