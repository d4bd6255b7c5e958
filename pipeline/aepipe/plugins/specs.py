"""Spec strings: how a user names a component and its options, the same everywhere.

Grammar: `[LABEL=]NAME[:key=value,key=value][SLICE]`, LABEL for densities only, SLICE (`[10:20]`) for data only. A value in
double quotes may hold `,` `:` and `[`. A factory's keyword-only parameters, with their annotations and defaults, are its
options; lines `name: text` in its docstring document them.
"""

from __future__ import annotations

import inspect
import math
import re
import types
import typing
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from aepipe.errors import BadInput, closest

if TYPE_CHECKING:
    import numpy as np

NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_SLICE = re.compile(r"\[(-?\d*)(?:(:)(-?\d*)(?::(-?\d*))?)?\]$")
_REQUIRED = inspect.Parameter.empty


class Range(NamedTuple):
    """The value LO..HI of an option `x: float | Range`: for each sample a number between both ends is drawn, see `drawn`."""

    low: float
    high: float

    def __str__(self) -> str:
        return "..".join(str(end).removesuffix(".0") for end in self)


def drawn(value: float | Range, samples: np.ndarray, rng: np.random.Generator) -> Any:
    """The value of an option for samples [n, …]: the number itself, or of a Range one number for each sample, drawn evenly,
    float32 [n, 1, …], which NumPy spreads over the sample."""
    if not isinstance(value, Range):
        return value
    return rng.uniform(value.low, value.high, (len(samples), *(1,) * (samples.ndim - 1))).astype("float32")


@dataclass(frozen=True)
class Spec:
    """A parsed spec string; option values are still text."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    label: str | None = None
    slice: slice | None = None


def parse_spec(text: str, *, labels: bool = False, slices: bool = False) -> Spec:
    """Parse `[LABEL=]NAME[:key=value,…][SLICE]`; raises BadInput that shows the text."""
    if not isinstance(text, str):
        raise BadInput(f"{text!r} is no spec", "name a component as text: NAME or NAME:key=value,key=value")
    rest, label, cut = text.strip(), None, None
    if slices:
        rest, cut = split_slice(rest)
    if labels and (match := re.match(rf"({NAME.pattern})=", rest)):
        label, rest = match[1], rest[match.end() :]
    name, colon, tail = rest.partition(":")
    if not NAME.fullmatch(name):
        raise BadInput(
            f"{text!r} is not a valid spec", "write NAME or NAME:key=value,key=value, for instance conv:channels=64"
        )
    options: dict[str, Any] = {}
    for part in _split_options(tail, text) if colon else []:
        key, equals, value = part.partition("=")
        key = key.strip()
        if not equals or not key.isidentifier():
            raise BadInput(f"{part!r} in {text!r} is not key=value", "write NAME:key=value,key=value")
        if key in options:
            raise BadInput(f"{text!r} gives {key!r} twice", "give each option once")
        options[key] = _unquote(value.strip())
    return Spec(name, options, label, cut)


def split_slice(text: str) -> tuple[str, slice | None]:
    """Split a trailing `[start:stop:step]` or `[index]` off `text`."""
    match = _SLICE.search(text)
    if not match or match[0] == "[]" or text[: match.start()].count('"') % 2:
        return text, None
    start, colon, stop, step = match.groups()
    if colon is None:
        if not start.lstrip("-"):
            return text, None
        index = int(start)
        return text[: match.start()], slice(index, index + 1 if index != -1 else None)
    if "-" in (start, stop, step) or (step and int(step) == 0):
        raise BadInput(
            f"{match[0]!r} in {text!r} is not a slice",
            "write [start:stop] or [start:stop:step] with a step other than 0",
        )
    return text[: match.start()], slice(*(int(part) if part else None for part in (start, stop, step)))


def _split_options(tail: str, text: str) -> list[str]:
    parts = re.findall(r'((?:[^,"]|"[^"]*")+)(?:,|$)', tail)
    if not parts or tail.count('"') % 2 or ",".join(parts) != tail:
        raise BadInput(
            f"{text!r} is not a valid spec", "options are key=value, separated by single commas, quotes in pairs"
        )
    return parts


def _unquote(value: str) -> str:
    return value[1:-1] if len(value) >= 2 and value[0] == value[-1] == '"' else value


@dataclass(frozen=True)
class Option:
    """One option of a factory: a keyword-only parameter."""

    name: str
    type: Any
    default: Any
    help: str

    @property
    def required(self) -> bool:
        return self.default is _REQUIRED

    @property
    def type_name(self) -> str:
        if typing.get_origin(self.type) is typing.Literal:
            return "|".join(str(value) for value in typing.get_args(self.type))
        if Range in typing.get_args(self.type):
            return f"{typing.get_args(self.type)[0].__name__} or LO..HI"
        return self.type.__name__ if isinstance(self.type, type) and not typing.get_args(self.type) else str(self.type)

    def as_json(self) -> dict[str, Any]:
        default = None if self.required else self.default
        return {
            "name": self.name,
            "type": self.type_name,
            "default": default,
            "required": self.required,
            "help": self.help,
        }


def options_of(factory: Callable[..., Any], known: Collection[str] = ()) -> list[Option]:
    """The options of a factory, read from its signature and its docstring; names that are `known` are arguments of its kind."""
    target = factory.__init__ if inspect.isclass(factory) else factory
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):  # a factory that is written in C may have no signature
        return []
    try:
        hints = typing.get_type_hints(target)
    except Exception:  # only a type checker can resolve some annotations; then the type of the default is used
        hints = {}
    documented = dict(re.findall(r"^\s*(\w+): (.+)$", inspect.getdoc(factory) or "", re.MULTILINE))
    found = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.name not in known:
            fallback = str if parameter.default in (_REQUIRED, None) else type(parameter.default)
            kind = hints.get(parameter.name, fallback)
            found.append(Option(parameter.name, kind, parameter.default, documented.get(parameter.name, "")))
    return found


def convert_options(
    factory: Callable[..., Any], what: str, given: Mapping[str, Any], known: Collection[str] = ()
) -> dict[str, Any]:
    """A value for every option of `factory`: the given ones, converted to the annotated types, and else the defaults.

    `what` names the component in errors, for instance "encoder 'conv'". Raises BadInput for an unknown or missing option
    and for a value of the wrong type.
    """
    options = {option.name: option for option in options_of(factory, known)}
    for key in given:
        if key not in options:
            raise BadInput(f"{what} has no option {key!r}", closest(key, list(options)))
    values = {}
    for name, option in options.items():
        if name in given:
            try:
                values[name] = convert(given[name], option.type)
            except (ValueError, TypeError) as error:
                raise BadInput(f"{what}: {name}={given[name]}: {error}", f"{name} is {option.type_name}") from None
        elif option.required:
            raise BadInput(f"{what} needs the option {name!r}", f"give it as NAME:{name}=VALUE ({option.type_name})")
        else:
            values[name] = option.default
    return values


def convert(value: Any, kind: Any) -> Any:
    """Turn text (or a value from JSON) into the annotated type `kind`; raises ValueError."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if Range in arguments:
            return _to_number_or_range(value, arguments[0])
        if value is None or (isinstance(value, str) and value.lower() == "none"):
            return None
        return convert(value, next(argument for argument in arguments if argument is not type(None)))
    if origin is typing.Literal:
        for choice in arguments:
            if str(value) == str(choice):
                return choice
        raise ValueError(f"one of {', '.join(map(str, arguments))} is needed")
    if origin is tuple:
        parts = str(value).split("/") if isinstance(value, (str, int, float)) else value
        return tuple(convert(part, arguments[0]) for part in parts)
    if kind is bool:
        return _to_bool(value)
    if kind in (int, float):
        return _to_number(value, kind)
    return str(value) if kind is str else value


def _to_bool(value: Any) -> bool:
    words = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
    if str(value).lower() not in words:
        raise ValueError("true or false is needed")
    return words[str(value).lower()]


def _to_number_or_range(value: Any, kind: type) -> Any:
    """A number, or the Range that LO..HI, or a pair of numbers in a record, stands for."""
    ends = value.split("..") if isinstance(value, str) else value
    if isinstance(ends, str | int | float) or len(ends) == 1:
        return _to_number(value, kind)
    if len(ends) != 2:
        raise ValueError("a range is LO..HI")
    low, high = (_to_number(end, kind) for end in ends)
    if low > high:
        raise ValueError("a range goes from a lower to a higher number")
    return Range(low, high)


def _to_number(value: Any, kind: type) -> Any:
    try:
        number = kind(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError("a whole number is needed" if kind is int else "a number is needed") from None
    if isinstance(value, float) and number != value:
        raise ValueError("a whole number is needed")
    if isinstance(value, bool) or not math.isfinite(number):
        raise ValueError("a finite number is needed")
    return number
