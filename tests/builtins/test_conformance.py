"""All that ships with aepipe passes the conformance kit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from aepipe import plugins, testing

DOWNLOADED = ("mnist", "fashion-mnist")


def _built_in() -> list[object]:
    registry, cases = plugins.registry(), []
    for kind in plugins.KINDS:
        for name, (component, *_) in sorted(registry.components(kind).items()):
            if component.plugin == "aepipe":
                subject = testing.Subject(kind, component.factory, name=name)
                checks = testing.checks_of(kind).values()
                for check in checks:
                    exports = check.__name__ == "exports_to_onnx" or kind == "layout"
                    marks = [pytest.mark.trains] if exports else []
                    cases.append(pytest.param(check, subject, id=f"{kind}:{name}:{check.__name__}", marks=marks))
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


@pytest.mark.trains
def test_built_in_conforms_with_options():
    """Options are given as values or as the text of a spec string."""
    testing.check_decoder(plugins.registry().find("decoder", "upsample").factory, mode="bilinear", channels="8")
