"""What plugins bring: a plugin, a component (a named factory), and a choice of its options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aepipe.errors import AepipeError, BadInput

# What a plugin's own code may raise, sys.exit included; Ctrl-C stays the user's.
ANY = (Exception, SystemExit)


@dataclass
class Plugin:
    """One entry point: where it came from, what it offers and what is wrong with it."""

    name: str
    distribution: str
    version: str
    hooks: list[str] = field(default_factory=list)
    components: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # worth knowing, and no fault

    def fail(self, doing: str, error: BaseException) -> None:
        text = " ".join(str(error).split()) or "no message"
        self.errors.append(f"{doing}: {type(error).__name__}: {text}")


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

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r}"


@dataclass(frozen=True)
class Choice:
    """A component with every option settled: what a spec string means."""

    component: Component
    options: dict[str, Any]
    label: str

    def record(self) -> dict[str, Any]:
        """What a run or a bundle remembers: never pickled code."""
        c = self.component
        return {"name": c.name, "options": self.options, "plugin": c.plugin, "version": c.version}

    def make(self, *arguments: Any) -> Any:
        """Call the factory. ValueError from it is bad input; any other error is reported as the plugin's."""
        c = self.component
        try:
            return c.factory(*arguments, **self.options)
        except ValueError as error:
            raise BadInput(f"{c}: {error}", f"see 'aepipe list {c.kind} {c.name}'") from error
        except AepipeError:
            raise
        except ANY as error:
            message = f"{c} of {c.plugin} {c.version} failed: {type(error).__name__}: {error}"
            raise AepipeError(
                message, f"report it to the authors of {c.plugin}; AEPIPE_DEBUG=1 shows the traceback"
            ) from error
