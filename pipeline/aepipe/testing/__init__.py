"""The conformance kit: does a component keep the contract of its hook?

    from aepipe.testing import check_encoder

    def test_wavelet():
        check_encoder(wavelet)                # or check_encoder(wavelet, levels=2)

Each `check_*` takes a factory and some of its options (the others stay at their defaults), runs every check of its kind
and raises one `ConformanceError` that lists all findings, each as `check: what is wrong; what to change`.

pytest can run the same checks one by one, as test items, for all that an installed distribution registers:

    pytest --aepipe-conformance aepipe-wavelet
    pytest --aepipe-conformance aepipe-wavelet --aepipe-spec encoder:wavelet:levels=2     # with other options
    pytest --aepipe-conformance aepipe-wavelet -k "encoder and not exports"

The kit needs the training extra (`pip install 'aepipe[train]'`) for everything but corruptions and data sets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aepipe.plugins.kinds import KINDS

from .checks import checks_of
from .report import ConformanceError, Finding, NotApplicable, Subject, run_check


def _checker(kind: str) -> Callable[..., None]:
    """`check_encoder` and the like, for one kind."""

    def check(factory: Callable[..., Any], /, **options: Any) -> None:
        subject = Subject(kind, factory, options)
        findings = []
        for name, each in checks_of(kind).items():
            try:
                run_check(each, subject)
            except NotApplicable:
                continue
            except Finding as finding:
                findings.append(f"{name}: {finding}")
        if findings:
            raise ConformanceError(subject.title, findings)

    signature = ", ".join((*KINDS[kind].positional, "*", "options"))
    check.__name__ = check.__qualname__ = f"check_{kind}"
    check.__doc__ = (
        f"Check a factory `({signature})` of {KINDS[kind].plural}; raises ConformanceError. {KINDS[kind].caution}"
    )
    return check


_CHECKERS = {f"check_{kind}": _checker(kind) for kind in KINDS}

__all__ = [  # and one check_KIND for each kind
    "ConformanceError",
    "Finding",
    "NotApplicable",
    "Subject",
    "checks_of",
    "run_check",
    *_CHECKERS,
]


def __getattr__(name: str) -> Any:
    if name not in _CHECKERS:
        raise AttributeError(f"module 'aepipe.testing' has no attribute {name!r}")
    return _CHECKERS[name]
