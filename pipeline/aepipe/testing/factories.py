"""Checks of the factory itself, the same for every kind: of its signature, its options and its module, and that it builds."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import types
import typing
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

from aepipe.errors import BadInput
from aepipe.plugins.kinds import KINDS
from aepipe.plugins.specs import Option, Range, convert, parse_spec

from .report import Finding, NotApplicable, Refused, Subject, Unbuilt, require

T = typing.TypeVar("T")
SUPPORTED = "int, float, bool, str, Literal, X | None, X | Range and tuple[X, ...]"
HEAVY = ("torch", "onnx", "onnxscript", "onnxruntime", "sklearn", "scipy", "matplotlib", "safetensors")
IMPORT_SECONDS = 0.3  # seconds of CPU time, so that a busy machine does not make a module look slow

# This program imports a module. It notes which heavy packages the module asks for, and refuses to import them.
IMPORTER = """
import importlib, json, sys, time
name, path, heavy = json.loads(sys.argv[1])
sys.path[:] = path
import aepipe, numpy
asked = []
class Refusing:
    def find_spec(self, module, path=None, target=None):
        if module.partition(".")[0] in heavy:
            asked.append(module.partition(".")[0])
            raise ImportError(f"{module} is not for module level")
sys.meta_path.insert(0, Refusing())
started, error = time.process_time(), ""
try:
    importlib.import_module(name)
except BaseException as failure:
    error = f"{type(failure).__name__}: {failure}"
print(json.dumps([asked, error, time.process_time() - started]))
"""


def first_accepted(subject: Subject, key: str, candidates: Sequence[T], build: Callable[[T], object]) -> T:
    """The first candidate that `build` accepts, remembered under `key`; raises Refused if all are refused."""

    def find() -> T:
        for candidate in candidates:
            try:
                build(candidate)
                return candidate
            except Refused as refusal:
                last = refusal
        raise last

    return subject.once(key, find)


def builds(subject: Subject) -> None:
    """The factory accepts at least one common size, and refuses the others with ValueError only."""
    refusals = []
    for arguments in KINDS[subject.kind].examples:
        try:
            subject.make(*arguments)
            return
        except Refused as refusal:
            refusals.append(f"{arguments}: {refusal}")
        except Unbuilt as error:
            call = f"{subject.name}({', '.join(map(str, arguments))})"
            raise Finding(
                f"{call} raises {error}", "build, or refuse what cannot work with ValueError"
            ) from error.__cause__
    raise Finding(
        f"it refuses all of {'; '.join(refusals)}", "accept at least one common size with the default options"
    )


def takes_the_right_arguments(subject: Subject) -> None:
    """Positional parameters are those of the hook, everything else is keyword-only."""
    wanted, also = KINDS[subject.kind].positional, KINDS[subject.kind].also
    parameters = inspect.signature(subject.factory).parameters.values()
    loose = [each.name for each in parameters if each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    require(not loose, f"it takes *{loose[0] if loose else ''}", "name every option as a keyword-only parameter")
    positional = [each.name for each in parameters if each.kind is not each.KEYWORD_ONLY and each.name not in also]
    signature = f"({', '.join((*wanted, '*', 'option: int = 1'))})"
    require(
        len(positional) <= len(wanted),
        f"{', '.join(positional[len(wanted) :])} can be given by position and is no option to aepipe",
        f"write a * before the options: {signature}",
    )
    require(len(positional) == len(wanted), f"it takes ({', '.join(positional)})", f"a factory takes {signature}")


def documents_options(subject: Subject) -> None:
    """There is a first docstring line, and each option has a supported annotation, a default and a line of help."""
    text = (subject.factory.__doc__ or "").strip()
    require(text, "it has no docstring", f"its first line is what 'aepipe list {subject.kind}' shows")
    parameters = inspect.signature(subject.factory).parameters
    for option in subject.component.options:
        name = option.name
        annotated = parameters[name].annotation is not inspect.Parameter.empty
        require(annotated, f"the option {name!r} has no annotation", f"annotate it with one of {SUPPORTED}")
        require(
            _supported(option.type),
            f"the option {name!r} is annotated with {option.type_name}, which a spec string cannot hold",
            f"use one of {SUPPORTED}",
        )
        require(
            not option.required or name in subject.options,
            f"the option {name!r} has no default",
            f"give it one, or name a value to check it with: --aepipe-spec {subject.kind}:{subject.name}:{name}=VALUE",
        )
        require(option.help, f"the option {name!r} is not documented", f"add a docstring line '{name}: what it does'")


def _supported(kind: Any) -> bool:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        inner = [argument for argument in arguments if argument not in (type(None), Range)]
        return len(inner) == 1 and len(arguments) == 2 and _supported(inner[0])
    if origin is tuple:
        return len(arguments) == 2 and arguments[1] is Ellipsis and arguments[0] in (int, float, str)
    return origin is typing.Literal or kind in (int, float, bool, str)


def defaults_survive_spec_strings(subject: Subject) -> None:
    """Every default can be written in a spec string and comes back as it was."""
    for option in subject.component.options:
        if option.required:
            continue
        text = f"{subject.name}:{option.name}={_as_text(option.default)}"
        change = f"choose a default of the annotated type ({option.type_name}) that a spec string can hold"
        try:
            back = convert(parse_spec(f"x:{text.partition(':')[2]}").options[option.name], option.type)
        except (BadInput, ValueError) as error:
            raise Finding(f"{text!r} cannot be read: {' '.join(str(error).split())}", change) from error
        same = back == option.default and type(back) is type(option.default)
        require(same, f"{text!r} is read as {back!r}, the default is {option.default!r}", change)


def _as_text(value: Any) -> str:
    if isinstance(value, tuple) and not isinstance(value, Range):
        return "/".join(map(str, value))
    return f'"{value}"' if isinstance(value, str) and any(c in value for c in ",:[") else str(value)


def refuses_with_value_error(subject: Subject) -> None:
    """A negative number is accepted, or refused with ValueError: a user's mistake must not look like the plugin's error."""
    for option in subject.component.options:
        wrong = _negative(option)
        if wrong is None:
            continue
        trial = Subject(subject.kind, subject.factory, {**subject.options, option.name: wrong}, subject.name)
        try:
            trial.make(*KINDS[subject.kind].examples[0])
        except Refused:
            continue
        except Unbuilt as error:
            text = f"{option.name}={_as_text(wrong)} raises {error}"
            raise Finding(text, "check the value first and raise ValueError with one sentence") from error.__cause__


def _negative(option: Option) -> Any:
    kinds = {kind for kind in (option.type, *typing.get_args(option.type)) if kind in (int, float)}
    if not kinds:
        return None
    return (-1,) if typing.get_origin(option.type) is tuple else -1


def imports_light(subject: Subject) -> None:
    """The factory's module imports nothing heavy and is imported quickly."""
    factory = subject.factory
    while isinstance(factory, partial):
        factory = factory.func
    imports_light_module(inspect.unwrap(factory).__module__)


def imports_light_module(name: str) -> None:
    """Import a module in its own process, in which heavy packages are refused; raises Finding."""
    asked, error, seconds = _import_alone(name)
    if name == "__main__" or error.startswith(f"ModuleNotFoundError: No module named {name.partition('.')[0]!r}"):
        raise NotApplicable(f"the module {name} is not importable by its name")
    require(
        not asked,
        f"the module {name} imports {', '.join(sorted(set(asked)))} at module level",
        "import it inside the factory, or in a second file that only the factory imports",
    )
    require(not error, f"the module {name} cannot be imported alone: {error}", "import all that it needs in it")
    if seconds > IMPORT_SECONDS:  # measure again: other work may have disturbed it
        seconds = min(seconds, *(_import_alone.__wrapped__(name)[2] for _ in range(2)))
    require(
        seconds <= IMPORT_SECONDS,
        f"importing {name} takes {seconds:.2f} s, more than {IMPORT_SECONDS} s",
        "every aepipe command imports it: move work and large imports into the factory",
    )


@cache
def _import_alone(name: str) -> tuple[list[str], str, float]:
    argument = json.dumps([name, [path or "." for path in sys.path], HEAVY])
    command = [sys.executable, "-c", IMPORTER, argument]
    process = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    try:
        asked, error, seconds = json.loads(process.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return [], f"the process ends with {process.returncode}: {process.stderr.strip()[-200:]}", 0.0
    return asked, error, seconds


FACTORY_CHECKS: list[Callable[[Subject], None]] = [
    builds,
    takes_the_right_arguments,
    documents_options,
    defaults_survive_spec_strings,
    refuses_with_value_error,
    imports_light,
]
