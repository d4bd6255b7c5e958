"""What plugins bring: a plugin, a component (a named factory), and a choice of its options."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from typing import Any

from aepipe.errors import DEBUG, FOREIGN, foreign, one_line

from .calling import call
from .kinds import KINDS
from .specs import Option, Range, convert_options, options_of


@dataclass
class Plugin:
    """One entry point: where it came from, what it offers and what is wrong with it."""

    name: str
    distribution: str
    version: str
    hooks: list[str] = field(default_factory=list)
    components: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # facts that are worth knowing but are no errors

    @contextmanager
    def noting(self, failing: str) -> Iterator[None]:
        """A block that calls the plugin's own code: an error is kept in `errors`, and the program goes on.

        What the plugin prints goes to stderr: stdout is for our own data, and a print must not break --json.
        """
        try:
            with redirect_stdout(sys.stderr):
                yield
        except FOREIGN as error:
            self.errors.append(f"{failing}: {one_line(error)}")


@dataclass(frozen=True)
class Component:
    """A named factory of one kind and the distribution that registered it."""

    kind: str
    name: str
    factory: Callable[..., Any]
    plugin: str
    version: str

    @property
    def help(self) -> str:
        return (self.factory.__doc__ or "").strip().partition("\n")[0]

    @property
    def options(self) -> list[Option]:
        """What a user can choose: keyword-only parameters that are not arguments of its kind."""
        return options_of(self.factory, KINDS[self.kind].known)

    def settle(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """A value for every option; raises BadInput, see `convert_options`."""
        return convert_options(self.factory, str(self), given, KINDS[self.kind].known)

    def call(self, arguments: Sequence[Any], options: Mapping[str, Any], also: Mapping[str, Any]) -> Any:
        """Call the factory with the arguments of its kind, with those of `also` that it names, and with options.

        `rebuild` is False unless `also` says that saved weights follow.
        """
        kind = KINDS[self.kind]
        given = dict(zip(kind.positional, arguments, strict=True))
        first = {"rebuild": False} if "rebuild" in kind.also else {}
        return call(self.factory, given, also={**first, **also}, options=options)

    @property
    def report(self) -> str:
        """The way out where its own code fails."""
        return f"report it to the authors of {self.plugin}; {DEBUG}"

    @property
    def see(self) -> str:
        """The way out where it refuses something."""
        return f"see 'aepipe list {self.kind} {self.name}'"

    @contextmanager
    def running(self, doing: str, way_out: str = "") -> Iterator[None]:
        """A block that runs what the factory made: its ValueError becomes BadInput with the way out (by default `see`), other
        errors an AepipeError, "KIND 'NAME' of PLUGIN failed" and what it was `doing`."""
        with foreign(
            f"{self} of {self.plugin} failed{doing}", self.report, refusing=str(self), way_out=way_out or self.see
        ):
            yield

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r}"


@dataclass(frozen=True)
class Choice:
    """A component with a value for every option; this is what a spec string stands for."""

    component: Component
    options: dict[str, Any]
    label: str

    def record(self) -> dict[str, Any]:
        """What a run or a bundle stores of this choice: names and values, never pickled code."""
        c = self.component
        options = {name: str(value) if isinstance(value, Range) else value for name, value in self.options.items()}
        return {"name": c.name, "options": options, "plugin": c.plugin, "version": c.version}

    def make(self, *arguments: Any, **also: Any) -> Any:
        """Call the factory with the arguments of its kind, and with those of `also` that it names.

        Its ValueError becomes BadInput; other errors become an AepipeError that names the plugin.
        """
        c = self.component
        with foreign(f"{c} of {c.plugin} {c.version} failed", c.report, refusing=str(c), way_out=c.see):
            return c.call(arguments, self.options, also)
