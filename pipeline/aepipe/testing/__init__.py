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

from .checks import checks_of
from .report import ConformanceError, Finding, NotApplicable, Subject, run_check

__all__ = [
    "ConformanceError",
    "Finding",
    "NotApplicable",
    "Subject",
    "check_corruption",
    "check_dataset",
    "check_decoder",
    "check_density",
    "check_encoder",
    "check_objective",
    "check_provider",
    "checks_of",
    "run_check",
]

Factory = Callable[..., Any]


def check_encoder(factory: Factory, /, **options: Any) -> None:
    """Check a factory `(shape, features, *, options)` of encoders; raises ConformanceError."""
    _check("encoder", factory, options)


def check_decoder(factory: Factory, /, **options: Any) -> None:
    """Check a factory `(latent, shape, *, options)` of decoders; raises ConformanceError."""
    _check("decoder", factory, options)


def check_objective(factory: Factory, /, **options: Any) -> None:
    """Check a factory `(latent, *, options)` of objectives; raises ConformanceError."""
    _check("objective", factory, options)


def check_density(factory: Factory, /, **options: Any) -> None:
    """Check a factory `(latent, *, options)` of densities; raises ConformanceError.

    The density is fitted about fifteen times, to at most 2,000 codes: give options that make this quick.
    """
    _check("density", factory, options)


def check_corruption(factory: Factory, /, **options: Any) -> None:
    """Check a factory `(*, options)` of corruptions; raises ConformanceError."""
    _check("corruption", factory, options)


def check_dataset(factory: Factory, /, **options: Any) -> None:
    """Check a factory `(*, options)` of data sets; raises ConformanceError. The data must be there, or loadable."""
    _check("dataset", factory, options)


def check_provider(factory: Factory, /, **options: Any) -> None:
    """Check a factory `(*, options)` of providers; raises ConformanceError.

    If the provider is not available here, only the error by which it says so is checked.
    """
    _check("provider", factory, options)


def _check(kind: str, factory: Factory, options: dict[str, Any]) -> None:
    subject = Subject(kind, factory, options)
    findings = []
    for name, check in checks_of(kind).items():
        try:
            run_check(check, subject)
        except NotApplicable:
            continue
        except Finding as finding:
            findings.append(f"{name}: {finding}")
    if findings:
        raise ConformanceError(subject.title, findings)
