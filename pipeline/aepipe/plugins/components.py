"""What plugins bring: a plugin, a component (a named factory), and a choice of its options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aepipe.errors import AepipeError, BadInput

# The errors of a plugin's code that aepipe catches. sys.exit() is one of them; Ctrl-C is not, so that it always works.
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
    notes: list[str] = field(default_factory=list)  # facts that are worth knowing but are no errors

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
    """A component with a value for every option; this is what a spec string stands for."""

    component: Component
    options: dict[str, Any]
    label: str

    def record(self) -> dict[str, Any]:
        """What a run or a bundle stores of this choice: names and values, never pickled code."""
        c = self.component
        return {"name": c.name, "options": self.options, "plugin": c.plugin, "version": c.version}

    def make(self, *arguments: Any) -> Any:
        """Call the factory. Its ValueError becomes BadInput; other errors become an AepipeError that names the plugin."""
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
