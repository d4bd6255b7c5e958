"""All that ships with aepipe passes the conformance kit, and the kit's pytest plugin does its work for a stranger."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from aepipe import plugins, testing

DOWNLOADED = ("mnist", "fashion-mnist")

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


def _built_in() -> list[object]:
    registry, cases = plugins.registry(), []
    for kind in plugins.KINDS:
        for name, (component, *_) in sorted(registry.components(kind).items()):
            if component.plugin == "aepipe":
                subject = testing.Subject(kind, component.factory, name=name)
                checks = testing.checks_of(kind).values()
                cases += [pytest.param(check, subject, id=f"{kind}:{name}:{check.__name__}") for check in checks]
    return cases


@pytest.mark.parametrize(("check", "subject"), _built_in())
def test_built_in_conforms(check, subject):
    if subject.kind == "dataset" and subject.name in DOWNLOADED and not _present(subject.name):
        pytest.skip(f"AEPIPE_DATA has no {subject.name}")
    try:
        testing.run_check(check, subject)
    except testing.NotApplicable as reason:
        pytest.skip(str(reason))


def _present(name: str) -> bool:
    return (Path(os.environ.get("AEPIPE_DATA", "nowhere")) / name).is_dir()


def test_built_in_conforms_with_options():
    """Options are given as values or as the text of a spec string."""
    testing.check_decoder(plugins.registry().find("decoder", "upsample").factory, mode="bilinear", channels="8")


def test_findings_are_listed_together():
    from planted.datasets import forgets_to_divide

    with pytest.raises(testing.ConformanceError, match="dataset 'forgets_to_divide' does not conform:\n- ") as caught:
        testing.check_dataset(forgets_to_divide)
    assert len(caught.value.findings) == 3
    for line in caught.value.findings:
        check, wrong, change = re.fullmatch(r"(\w+): (.+); (.+)", line, re.DOTALL).groups()
        assert check in testing.checks_of("dataset")
        assert wrong
        assert change


def test_the_example_of_the_docstring():
    """check_* gives nothing for what conforms, and takes a class or a partial as well as a function."""
    from functools import partial

    from aepipe_builtins.corruptions import gaussian

    assert testing.check_corruption(gaussian) is None
    assert testing.check_corruption(gaussian, sigma=0.1) is None
    halved = partial(gaussian, sigma=0.2)
    halved.__doc__ = gaussian.__doc__
    assert testing.check_corruption(halved) is None


def lazy_and_tied(shape, features):
    "Layers that take their size from the first images, and a weight that is used twice."
    from torch import nn

    net = nn.Sequential(
        nn.Flatten(), nn.LazyLinear(features), nn.ReLU(), *(nn.Linear(features, features) for _ in "ab")
    )
    net[4].weight = net[3].weight
    return net


def test_lazy_layers_and_tied_weights_conform():
    for name in ("passes_gradients", "follows_the_seed", "survives_saving"):
        testing.run_check(testing.checks_of("encoder")[name], testing.Subject("encoder", lazy_and_tied))


def test_unknown_option_is_a_finding():
    from aepipe_builtins.corruptions import gaussian

    with pytest.raises(testing.ConformanceError, match="has no option 'sgma'"):
        testing.check_corruption(gaussian, sgma=2)


def test_the_kit_imports_nothing_heavy():
    code = (
        "import sys, aepipe.testing; print([m for m in ('torch', 'onnx', 'onnxruntime', 'numpy') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.fixture
def strange(tmp_path):
    """A folder with an installed distribution `aepipe-wavelet`, and a call of pytest in an empty folder beside it."""

    def install(name: str, code: str) -> None:
        (tmp_path / "site" / f"{name}-1.0.dist-info").mkdir(parents=True)
        info = tmp_path / "site" / f"{name}-1.0.dist-info"
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[aepipe]\n{name} = {name}\n")
        (tmp_path / "site" / f"{name}.py").write_text(code)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        work = tmp_path / "work"
        work.mkdir(exist_ok=True)
        # Without Hypothesis, whose plugin takes longer to import than all of this to run.
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "PYTHONDONTWRITEBYTECODE": "1"}
        environment.pop("AEPIPE_LOAD_PLUGINS", None)
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
