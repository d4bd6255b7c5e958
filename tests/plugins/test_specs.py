"""Spec strings: what is written is what is read, and what cannot be read is refused in one sentence."""

from __future__ import annotations

import math
import string
from typing import Literal

import pytest
from aepipe.errors import BadInput
from aepipe.plugins.specs import Spec, convert, convert_options, options_of, parse_spec, split_slice
from hypothesis import given
from hypothesis import strategies as st

names = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,8}", fullmatch=True)
keys = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)
# Anything but a quote; what would end a bare value is put in quotes.
values = st.text(st.characters(blacklist_characters='"', blacklist_categories=("Cs",)), max_size=12)
bounds = st.one_of(st.none(), st.integers(-(10**6), 10**6))
slices = st.builds(slice, bounds, bounds, st.one_of(st.none(), st.integers(-99, -1), st.integers(1, 99)))


def written(name: str, options: dict[str, str], label: str | None = None, cut: slice | None = None) -> str:
    text = f"{label}={name}" if label else name
    text += ":" if options else ""
    text += ",".join(f'{key}="{value}"' for key, value in options.items())
    if cut:
        parts = ["" if bound is None else str(bound) for bound in (cut.start, cut.stop, cut.step)]
        text += "[" + ":".join(parts if parts[2] else parts[:2]) + "]"
    return text


@given(names, st.dictionaries(keys, values, max_size=4), st.one_of(st.none(), names))
def test_what_is_written_is_read_with_a_label(name: str, options: dict[str, str], label: str | None):
    assert parse_spec(written(name, options, label), labels=True) == Spec(name, options, label)


@given(names, st.dictionaries(keys, values, max_size=4), st.one_of(st.none(), slices))
def test_what_is_written_is_read_with_a_slice(name: str, options: dict[str, str], cut: slice | None):
    assert parse_spec(written(name, options, cut=cut), slices=True) == Spec(name, options, None, cut)


@given(names, st.dictionaries(keys, st.text(string.ascii_letters + string.digits + "._-/;=", min_size=1), min_size=1))
def test_plain_values_need_no_quotes(name: str, options: dict[str, str]):
    text = f"{name}:" + ",".join(f"{key}={value}" for key, value in options.items())
    assert parse_spec(text) == Spec(name, options)


@given(st.text(max_size=30), st.booleans(), st.booleans())
def test_any_text_is_a_spec_or_bad_input(text: str, labels: bool, slices: bool):
    try:
        spec = parse_spec(text, labels=labels, slices=slices)
    except BadInput as error:
        assert error.exit_code == 2 and error.message and error.hint
    else:
        assert spec.name in text


@given(st.integers(0, 10**6))
def test_an_index_is_a_slice_of_one(index: int):
    assert list(range(index + 2))[split_slice(f"mnist[{index}]")[1]] == [index]


def test_the_last_one():
    assert [1, 2, 3][split_slice("mnist[-1]")[1]] == [3]


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "Conv",
        "conv:",
        "conv:channels",
        "conv:channels=1,",
        "conv:,",
        "conv:a=1,a=2",
        'conv:a="x',
        "a b",
        "conv:1a=2",
        "é",
        "conv[3]",
        "../x",
        "mix=gmm",
    ],
)
def test_refused(text: str):
    with pytest.raises(BadInput) as caught:
        parse_spec(text)
    assert caught.value.hint


@pytest.mark.parametrize("text", ["mnist[::0]", "mnist[-:]", "mnist[1:-]"])
def test_slices_that_no_spec_takes(text: str):
    with pytest.raises(BadInput, match="slice"):
        parse_spec(text, slices=True)


@given(st.integers(-(10**12), 10**12))
def test_whole_numbers(number: int):
    assert convert(str(number), int) == number == convert(number, int)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers(number: float):
    assert convert(repr(number), float) == number


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=5))
def test_tuples(sizes: list[int]):
    expected = tuple(sizes)
    assert convert("/".join(map(str, sizes)), tuple[int, ...]) == expected
    assert convert(sizes, tuple[int, ...]) == expected  # as a record in JSON has it


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        ("true", bool, True),
        ("no", bool, False),
        (True, bool, True),
        ("none", int | None, None),
        ("3", int | None, 3),
        (None, int | None, None),
        ("nearest", Literal["nearest", "bilinear"], "nearest"),
        ("2", Literal[1, 2], 2),
        ("x:y,z[1]", str, "x:y,z[1]"),
        (3.0, int, 3),
    ],
)
def test_conversions(value: object, kind: object, expected: object):
    assert convert(value, kind) == expected


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("1.5", int),
        (1.5, int),
        ("many", int),
        ("nan", float),
        ("inf", float),
        ("x", float),
        ("maybe", bool),
        (True, int),
        ("cubic", Literal["nearest", "bilinear"]),
        ("1/x", tuple[int, ...]),
        ("", tuple[int, ...]),
        ([1], int),
    ],
)
def test_values_of_the_wrong_type(value: object, kind: object):
    with pytest.raises(ValueError):
        convert(value, kind)


def factory(
    shape, *, width: int = 8, rate: float = 0.5, mode: Literal["a", "b"] = "a", sizes: tuple[int, ...] = (1, 2)
):
    """Something.

    width: how wide it is
    """


def needs_one(*, path: str):
    """Something else."""


def test_options_come_from_the_signature_and_the_docstring():
    width, rate, mode, sizes = options_of(factory)
    assert (width.name, width.type_name, width.default, width.help) == ("width", "int", 8, "how wide it is")
    assert (rate.help, mode.type_name, sizes.default, width.required) == ("", "a|b", (1, 2), False)
    assert options_of(needs_one)[0].required
    assert options_of(needs_one)[0].as_json()["default"] is None


def test_all_options_are_settled():
    given = convert_options(factory, "thing 'x'", {"width": "16", "sizes": "4/5/6"})
    assert given == {"width": 16, "rate": 0.5, "mode": "a", "sizes": (4, 5, 6)}


@pytest.mark.parametrize(
    ("make", "given", "said"),
    [
        (factory, {"widht": "1"}, "did you mean 'width'"),
        (factory, {"width": "big"}, "whole number"),
        (factory, {"mode": "c"}, "one of a, b"),
        (needs_one, {}, "needs the option 'path'"),
    ],
)
def test_options_that_are_refused(make, given: dict[str, str], said: str):
    with pytest.raises(BadInput) as caught:
        convert_options(make, "thing 'x'", given)
    assert said in str(caught.value) and "thing 'x'" in caught.value.message


def test_quoted_values_keep_what_means_something_elsewhere():
    spec = parse_spec('web:url="http://a,b:80/[1]",n=2[3:5]', slices=True)
    assert spec == Spec("web", {"url": "http://a,b:80/[1]", "n": "2"}, None, slice(3, 5, None))
    assert math.isclose(float(spec.options["n"]), 2)
