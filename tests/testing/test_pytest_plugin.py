"""`pytest --aepipe-conformance DISTRIBUTION` does its work for a stranger."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.helpers import strangers

ENCODER = """
from aepipe import hookimpl

@hookimpl
def register_encoders(register):
    register(wavelet)

def wavelet(shape, features):
    "Linear, with a normalisation that cannot train on one image."
    from math import prod
    from torch import nn

    return nn.Sequential(nn.Flatten(), nn.Linear(prod(shape), features), nn.BatchNorm1d(features))
"""
CORRUPTION = '''
from aepipe import hookimpl

@hookimpl
def register_corruptions(register):
    register(fade)

def fade(*, share: float{default}):
    """Images that are paler.

    share: how much remains
    """
    return lambda images, rng: images * {share}
'''
SOUND = CORRUPTION.format(default=" = 0.5", share="images.dtype.type(share)")


@pytest.fixture
def strange(tmp_path):
    """A folder with an installed distribution `aepipe-wavelet`, and a call of pytest in an empty folder beside it."""

    def install(name: str, code: str) -> None:
        strangers.install(tmp_path / "site", name.replace("_", "-"), code, entry=name)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        work = tmp_path / "work"
        work.mkdir(exist_ok=True)
        # Without Hypothesis, whose plugin takes longer to import than all of this to run.
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:hypothesispytest",
            "-p",
            "no:zarr",
            *arguments,
        ]
        environment = strangers.with_path(tmp_path / "site", PYTHONDONTWRITEBYTECODE="1")
        return subprocess.run(command, capture_output=True, text=True, cwd=work, env=environment, timeout=300)

    run.install = install
    run.work = tmp_path / "work"
    return run


def test_pytest_plugin_checks_a_distribution(strange):
    strange.install("aepipe_fade", SOUND)
    strange.work.mkdir()
    (strange.work / "test_other.py").write_text("def test_other(): pass\n")
    done = strange("--aepipe-conformance", "Aepipe.Fade", "-v")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "conformance[plugin:aepipe_fade:imports_light] PASSED" in done.stdout
    assert "conformance[corruption:fade:keeps_shape_type_and_range] PASSED" in done.stdout
    assert "test_other" not in done.stdout
    both = strange("--aepipe-conformance", "aepipe-fade", "--collect-only", "-q", ".")
    assert "test_other.py::test_other" in both.stdout
    assert "aepipe-fade::conformance[corruption:fade:leaves_its_input]" in both.stdout


@pytest.mark.trains
@pytest.mark.slow
def test_pytest_plugin_says_what_to_change(strange):
    strange.install("aepipe_wavelet", ENCODER)
    done = strange("--aepipe-conformance", "aepipe-wavelet", "-rs", "-k", "one_image or closed_form")
    assert done.returncode == 1
    assert "the last batch of an epoch may hold one image: use GroupNorm or LayerNorm" in done.stdout
    assert "Expected more than 1 value per channel when training" in done.stdout  # the error behind the finding
    assert "it has no fit: it trains by gradient" in done.stdout
    assert "1 failed" in done.stdout


def test_pytest_plugin_takes_specs(strange):
    strange.install("aepipe_fade", CORRUPTION.format(default="", share="images.dtype.type(share)"))
    without = strange("--aepipe-conformance", "aepipe-fade")
    assert "the option 'share' has no default" in without.stdout
    assert "1 failed" in without.stdout
    specs = "corruption:fade:share=0.25", "corruption:fade:share=3"
    given = strange("--aepipe-conformance", "aepipe-fade", "--aepipe-spec", specs[0], "--aepipe-spec", specs[1], "-v")
    assert f"conformance[{specs[0]}:keeps_shape_type_and_range] PASSED" in given.stdout
    assert f"conformance[{specs[1]}:keeps_shape_type_and_range] FAILED" in given.stdout
    assert "1 failed" in given.stdout


def test_pytest_plugin_runs_in_parallel(strange):
    pytest.importorskip("xdist")
    strange.install("aepipe_fade", SOUND)
    done = strange("--aepipe-conformance", "aepipe-fade", "-n", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--aepipe-conformance", "aepipe-fad"], "did you mean 'aepipe-fade'?"),
        (["--aepipe-conformance", "aepipe-broken"], "aepipe-broken is broken: aepipe_broken: cannot load"),
        (["--aepipe-conformance", "aepipe-fade", "--aepipe-spec", "corruption:fad:share=2"], "names no component"),
        (
            ["--aepipe-conformance", "aepipe-fade", "--aepipe-spec", "corruption:fade:shar=2"],
            "has no option 'shar'",
        ),
        (["--aepipe-conformance", "aepipe-fade", "--aepipe-spec", "corruption:"], "is not a valid spec"),
        (["--aepipe-spec", "corruption:fade:share=2"], "needs --aepipe-conformance"),
    ],
)
def test_pytest_plugin_refuses_what_it_cannot_check(strange, arguments, words):
    strange.install("aepipe_fade", SOUND)
    strange.install("aepipe_broken", "import no_such_module\n")
    done = strange(*arguments)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert words in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_pytest_plugin_costs_other_projects_nothing(strange):
    strange.install("aepipe_loud", "raise SystemExit('a plugin was loaded')\n")
    strange.work.mkdir()
    loaded = "sorted(m for m in sys.modules if m.startswith(('aepipe', 'torch', 'numpy', 'onnx', 'click')))"
    (strange.work / "test_it.py").write_text(f"import sys\ndef test_it():\n    print({loaded})\n")
    done = strange("-s", "-q")
    assert "['aepipe', 'aepipe._version', 'aepipe.errors', 'aepipe.pytest_plugin']" in done.stdout
