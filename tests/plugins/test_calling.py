"""Functions of plugins get the arguments that they name."""

from __future__ import annotations

from aepipe.plugins.calling import call, names_of
from hypothesis import given
from hypothesis import strategies as st

GIVEN = {"latent": 8, "shape": (1, 28, 28)}
names = st.lists(st.sampled_from(["latent", "shape", "labels", "rebuild", "other", "more"]), unique=True, max_size=6)


def function_of(positional: list[str], keyword: list[str]):
    """A function with parameters of these names that gives them back; all have the default None."""
    signature = ", ".join(
        [f"{each}=None" for each in positional] + ["*"] * bool(keyword) + [f"{k}=None" for k in keyword]
    )
    scope: dict = {}
    exec(f"def function({signature}): return dict(locals())", scope)
    return scope["function"]


@given(names, st.integers(0, 6))
def test_a_named_argument_arrives_wherever_it_stands(found: list[str], cut: int) -> None:
    made = call(function_of(found[:cut], found[cut:]), GIVEN, also={"labels": "L", "rebuild": True})
    known = {**GIVEN, "labels": "L", "rebuild": True}
    rest = [value for name, value in GIVEN.items() if name not in found]
    for name in found:
        wanted = known[name] if name in known else rest.pop(0) if rest and name in found[:cut] else None
        assert made[name] == wanted


def test_parameters_of_other_names_get_the_rest_in_order() -> None:
    assert call(lambda size, form: (size, form), GIVEN) == (8, (1, 28, 28))
    assert call(lambda size, shape: (size, shape), GIVEN) == (8, (1, 28, 28))
    assert call(lambda shape, size: (shape, size), GIVEN) == ((1, 28, 28), 8)
    assert call(lambda *given: given, GIVEN) == (8, (1, 28, 28))


def test_what_is_not_named_is_not_given() -> None:
    assert call(lambda latent: latent, GIVEN, also={"labels": 1}) == 8
    assert call(lambda latent, **more: more, GIVEN, also={"labels": 1}) == {"labels": 1}
    assert call(lambda latent, /, shape: (latent, shape), GIVEN) == (8, (1, 28, 28))


def test_options_go_by_keyword() -> None:
    assert call(lambda latent, *, width=1: (latent, width), GIVEN, options={"width": 4}) == (8, 4)


def test_a_function_without_a_signature_gets_all_by_position() -> None:
    assert names_of(max) == frozenset()
    assert call(max, {"first": 1, "second": 2}) == 2
