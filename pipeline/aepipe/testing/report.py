"""The subject of a check, the results that a check can have, and how a check is run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from aepipe.errors import BadInput, one_line
from aepipe.plugins import KINDS, Component


class ConformanceError(AssertionError):
    """A component breaks the contract of its hook; `findings` holds a line for each finding."""

    def __init__(self, title: str, findings: list[str]):
        super().__init__(f"{title} does not conform:\n" + "\n".join(f"- {finding}" for finding in findings))
        self.findings = findings


class Finding(AssertionError):
    """What one check found: what is wrong, and what to change."""

    def __init__(self, wrong: str, change: str):
        super().__init__(f"{wrong}; {change}")
        self.wrong, self.change = wrong, change


class NotApplicable(Exception):
    """A check does not apply to this component, for the reason given; this is no finding."""


class Unbuilt(NotApplicable):
    """The factory fails. The check `builds` reports this, and the other checks do not apply."""


class Refused(NotApplicable):
    """The factory refuses these arguments with ValueError, which it is allowed to do."""


Check = Callable[["Subject"], None]


@dataclass(eq=False)
class Subject:
    """The factory that is checked, its kind, and the options that it is checked with."""

    kind: str
    factory: Callable[..., Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    _kept: dict[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.name = self.name or getattr(self.factory, "__name__", type(self.factory).__name__)

    @property
    def component(self) -> Component:
        """The factory as the registry would hold it."""
        return Component(self.kind, self.name, self.factory, "", "")

    @property
    def title(self) -> str:
        return f"{self.kind} {self.name!r}"

    def make(self, *arguments: Any) -> Any:
        """Call the factory. Raises Refused for a ValueError, Unbuilt for any other error."""
        try:
            options = self.component.settle(self.options)
        except BadInput as error:
            without = [option.name for option in self.component.options if option.required]
            if not set(without) <= set(self.options):
                raise NotApplicable(f"{error.message}: give a value to check it with") from None
            raise Unbuilt(error.message) from error
        try:
            return self.component.call(arguments, options, KINDS[self.kind].also)
        except ValueError as error:
            raise Refused(str(error)) from error
        except Exception as error:
            raise Unbuilt(one_line(error)) from error

    def once(self, key: str, make: Callable[[], Any]) -> Any:
        """Return or raise what `make` does; it is called only by the first check that needs `key`."""
        if key not in self._kept:
            try:
                self._kept[key] = make()
            except Exception as error:
                self._kept[key] = error
        if isinstance(self._kept[key], Exception):
            raise self._kept[key]
        return self._kept[key]


def require(condition: object, wrong: str, change: str) -> None:
    """Raise a Finding unless the condition holds."""
    if not condition:
        raise Finding(wrong, change)


@contextmanager
def trying(what: str, change: str) -> Iterator[None]:
    """Turn an error of the block into a Finding that says that `what` fails, and what to change."""
    try:
        yield
    except (Finding, NotApplicable):
        raise
    except Exception as error:
        raise Finding(f"{what} fails with {one_line(error)}", change) from error


def run_check(check: Check, subject: Subject) -> None:
    """Run one check; raises Finding, or NotApplicable if it does not apply."""
    with trying(f"{subject.title}", "this is an error in the component's own code: see its traceback"):
        check(subject)


@contextmanager
def without_torch() -> Iterator[None]:
    """Make `import torch` fail inside the block, as it does where only the runtime is installed."""
    hidden: dict[str, ModuleType | None] = {"torch": sys.modules.get("torch")}
    hidden |= {name: module for name, module in sys.modules.items() if name.startswith("torch.")}
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # for None an import raises ImportError
    try:
        yield
    finally:
        sys.modules.update({name: module for name, module in hidden.items() if module is not None})
        if hidden["torch"] is None:
            del sys.modules["torch"]
