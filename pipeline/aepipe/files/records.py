"""JSON objects of ours, read strictly into dataclasses and written from the same dataclasses.

A dataclass states every key, its type and its limits once; msgspec converts and checks by it, and `schema` describes it.
Keys that a dataclass does not have are ignored, so that a newer aepipe may add some.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from aepipe.errors import BadInput

from .regular import read_regular

T = TypeVar("T")
Upgrade = Callable[[dict[str, Any]], dict[str, Any]]

# What a terminal would act on, or would show in another order than it stands: control and bidirectional characters.
_UNPRINTABLE = r"\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
Text = Annotated[str, msgspec.Meta(pattern=rf"^(?![\s\S]*[{_UNPRINTABLE}])", description="Printable text.")]
Count = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1, description="A whole number of 1 or more.")]


def read_json(path: Path) -> Any:
    """The content of a JSON file in UTF-8. Raises OSError, ValueError for what is not JSON, and BadInput for a pipe or a device."""
    try:
        return json.loads(read_regular(path).decode("utf-8"), object_pairs_hook=_unique, parse_int=_whole)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, whose keys must differ: of two with one name, other programs might take the other one."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, _ in pairs if sum(key == each for each, _ in pairs) > 1)
        raise ValueError(f"the key {twice[:40]!r} stands twice in one object")
    return found


def _whole(digits: str) -> int:
    """A whole number; one of thousands of digits would take long, and no number of ours has so many."""
    if len(digits) > 40:
        raise ValueError(f"a number has {len(digits)} digits")
    return int(digits)


def as_record(kind: type[T], entries: Any) -> T:
    """Entries of a JSON file as the dataclass `kind`; raises ValueError that names the entry which is missing or wrong."""
    try:
        return msgspec.convert(entries, kind)
    except msgspec.ValidationError as error:
        text, _, place = str(error).partition(" - at `")
        place = place.rstrip("`").removeprefix("$").removeprefix(".")
        if "matching regex" in text:
            text = "Expected printable text"
        raise ValueError(f"{place}: {text}" if place else text) from None


def read_record(
    kind: type[T], path: Path, what: str, newest: int, hint: str, upgrade: Upgrade = lambda entries: entries
) -> T:
    """The record in a JSON file whose key `format` says in which of the formats 1 to `newest` it is.

    `upgrade` turns entries of an older format into those of the newest. Raises BadInput that calls the file `what` and ends in
    `hint`.
    """
    return read_entries(kind, path, what, newest, hint, upgrade)[0]


def read_entries(
    kind: type[T], path: Path, what: str, newest: int, hint: str, upgrade: Upgrade = lambda entries: entries
) -> tuple[T, dict[str, Any]]:
    """The same, and beside it everything that the file holds."""
    try:
        entries = read_json(path)
        found = as_record(_Versioned, entries).format
        if found > newest:
            raise BadInput(f"{what} has format {found}, this aepipe reads up to {newest}", "upgrade aepipe")
        entries = upgrade(entries)
        return as_record(kind, entries), entries
    except OSError as error:
        way_out = "check its permissions" if isinstance(error, PermissionError) else hint
        raise BadInput(f"{what} cannot be read: {error.strerror or error}", way_out) from None
    except ValueError as error:
        raise BadInput(f"{what} is broken: {error}", hint) from None


@dataclass
class _Versioned:
    format: Count


def as_entries(record: Any) -> Any:
    """A dataclass as what JSON holds. Fields that may be left out and are None are left out."""
    if is_dataclass(record) and not isinstance(record, type):
        values = {each.name: (getattr(record, each.name), each.default is MISSING) for each in fields(record)}
        return {name: as_entries(value) for name, (value, needed) in values.items() if needed or value is not None}
    if isinstance(record, dict):
        return {key: as_entries(value) for key, value in record.items()}
    return [as_entries(value) for value in record] if isinstance(record, list | tuple) else record


def to_json(record: Any, indent: int | None = 2) -> str:
    """The text of a JSON file; without `indent` it is one line."""
    return json.dumps(as_entries(record), indent=indent) + "\n"


def schema(kind: type[Any]) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a dataclass."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(kind)}
