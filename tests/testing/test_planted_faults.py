"""Every check of the conformance kit finds a component with exactly that fault, says what to change, and finds nothing else."""

from __future__ import annotations

from importlib import import_module

import pytest
from aepipe import testing
from aepipe.plugins import KINDS

from tests.testing import planted

for _module in (
    "factories",
    "heavy",
    "slow",
    "encoders",
    "decoders",
    "objectives",
    "optimisers",
    "densities",
    "corruptions",
    "augmentations",
    "datasets",
    "layouts",
    "providers",
    "readers",
):
    import_module(f"tests.testing.planted.{_module}")

FAULTS = planted.FAULTS
EXPORT = "exports_to_onnx"


def _with_marks(fault):
    """A test that exports is one that trains."""
    exports = EXPORT in (fault.check, *fault.also) or KINDS[fault.kind].checks == "layouts"
    return pytest.param(fault, id=str(fault), marks=[pytest.mark.trains] if exports else [])


def findings(kind, factory, checks) -> dict[str, testing.Finding]:
    subject = testing.Subject(kind, factory)
    found = {}
    for name in checks:
        try:
            testing.run_check(testing.checks_of(kind)[name], subject)
        except testing.NotApplicable:
            continue
        except testing.Finding as finding:
            found[name] = finding
    return found


@pytest.mark.parametrize("fault", [_with_marks(each) for each in FAULTS])
def test_fault_is_found_and_nothing_else(fault):
    # An export takes seconds: it is tried where it is to fail.
    checks = [name for name in testing.checks_of(fault.kind) if name != EXPORT or EXPORT in (fault.check, *fault.also)]
    found = findings(fault.kind, fault.factory, checks)
    assert fault.check in found, found
    assert fault.words in str(found[fault.check])
    assert found.keys() - {fault.check} <= set(fault.also), {name: str(finding) for name, finding in found.items()}


def test_every_check_has_a_planted_fault():
    planted_checks = {(fault.kind, fault.check) for fault in FAULTS}
    shared = {name for kind in KINDS for name in testing.checks_of(kind) if not _own(kind, name)}
    for kind in KINDS:
        for name in testing.checks_of(kind):
            kinds = KINDS if name in shared else [each for each in KINDS if KINDS[each].checks == KINDS[kind].checks]
            assert any((other, name) in planted_checks for other in kinds), f"{kind}: {name}"


def _own(kind, name):
    return testing.checks_of(kind)[name].__module__ != "aepipe.testing.factories"
