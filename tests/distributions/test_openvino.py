"""plugins/aepipe-openvino: its own tests and the conformance kit, and the provider from the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from tests.helpers.places import OPENVINO
from tests.helpers.strangers import install_real, with_path

pytestmark = [pytest.mark.slow, pytest.mark.skipif(find_spec("openvino") is None, reason="OpenVINO is not installed")]


def test_its_own_tests_and_the_conformance_kit_pass(tmp_path):
    install_real(tmp_path, OPENVINO)
    options = ["-p", "no:cacheprovider", "--aepipe-conformance", "aepipe-openvino"]
    command = [sys.executable, "-m", "pytest", "--rootdir", OPENVINO, *options, OPENVINO / "tests"]
    done = subprocess.run(command, cwd=tmp_path, env=with_path(tmp_path), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = int(done.stdout.rpartition(" passed")[0].split()[-1])
    assert passed > 20 and "skipped" not in done.stdout.splitlines()[-1]


def test_it_is_listed_with_its_options(tmp_path, cli):
    install_real(tmp_path, OPENVINO)
    text = cli("list", "provider", "openvino", env=with_path(tmp_path)).stdout
    assert "from aepipe-openvino 0.1.0" in text and "device" in text and "fp32|bf16|fp16" in text.replace(" ", "")
    found = json.loads(cli("plugins", "--json", env=with_path(tmp_path)).stdout)
    (ours,) = [plugin for plugin in found if plugin["distribution"] == "aepipe-openvino"]
    assert "openvino" in json.dumps(ours)


def test_infer_computes_with_it_what_the_cpu_computes(tmp_path, cli, kept_bundle):
    install_real(tmp_path / "site", OPENVINO)
    environment = with_path(tmp_path / "site")
    for provider in ("openvino", "cpu"):
        given = [
            "--provider",
            provider,
            "reconstruct",
            kept_bundle,
            "digits[:70]",
            "-o",
            tmp_path / f"{provider}.npy",
        ]
        done = cli("infer", *given, env=environment)
        assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "openvino.npy"), np.load(tmp_path / "cpu.npy"), atol=1e-5)


@pytest.mark.parametrize(
    ("spec", "code", "named"),
    [("device=XPU", 4, "CPU"), ("precision=fp8", 2, "bf16"), ("streams=2", 2, "precision")],
)
def test_what_it_cannot_do_ends_with_a_sentence_and_a_code(spec, code, named, tmp_path, cli, kept_bundle):
    install_real(tmp_path / "site", OPENVINO)
    given = ["--provider", f"openvino:{spec}", "sample", kept_bundle, "-o", tmp_path / "out.png"]
    done = cli("infer", *given, env=with_path(tmp_path / "site"))
    assert done.returncode == code and named in done.stderr and "Traceback" not in done.stderr
