"""The conformance kit."""

from __future__ import annotations

import re

import pytest
from aepipe import testing

from tests.helpers.commands import python


def test_findings_are_listed_together():
    from tests.testing.planted.datasets import has_no_test_split

    with pytest.raises(testing.ConformanceError, match="dataset 'has_no_test_split' does not conform:\n- ") as caught:
        testing.check_dataset(has_no_test_split)
    assert caught.value.findings
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
    assert python(code, check=True).stdout == "[]\n"
