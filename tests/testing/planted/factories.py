"""Faults of factories: arguments, options, refusals. (Modules that are too heavy: heavy.py, slow.py.)"""

from __future__ import annotations

from tests.testing.planted import fault


def _encoder(shape, features):
    from tests.testing.planted.sound import Encoder

    return Encoder(shape, features)


@fault("encoder", "builds", "ValueError")
def raises_the_wrong_error(shape, features):
    "Refuses with KeyError."
    raise KeyError("no idea")


@fault("encoder", "builds", "accept at least one common size")
def refuses_everything(shape, features):
    "Accepts 99 channels only."
    if shape[0] != 99:
        raise ValueError("99 channels are needed")


@fault("encoder", "takes_the_right_arguments", "write a * before the options: (shape, features, *")
def forgets_the_star(shape, features, levels: int = 3):
    """Takes an option by position.

    levels: how many
    """
    return _encoder(shape, features)


@fault("encoder", "takes_the_right_arguments", "name every option")
def takes_anything(shape, features, **options):
    "Takes options without saying which."
    return _encoder(shape, features)


@fault(
    "encoder", "takes_the_right_arguments", "a factory takes (shape, features, *", "builds", "refuses_with_value_error"
)
def takes_one_less(shape, *, features: int = 4):
    """Takes the features as an option.

    features: how many
    """
    return _encoder(shape, features)


@fault("encoder", "documents_options", "aepipe list encoder")
def has_no_docstring(shape, features):
    return _encoder(shape, features)


@fault("encoder", "documents_options", "docstring line 'levels:")
def leaves_an_option_undocumented(shape, features, *, levels: int = 3):
    "An option without a word."
    return _encoder(shape, features)


@fault("encoder", "documents_options", "annotate it with one of int, float")
def leaves_an_option_without_type(shape, features, *, levels=3):
    """An option without annotation.

    levels: how many
    """
    return _encoder(shape, features)


@fault("encoder", "documents_options", "use one of int, float", "defaults_survive_spec_strings")
def has_an_option_of_a_strange_type(shape, features, *, levels: list[int] = [1, 2]):  # noqa: B006
    """A list as an option.

    levels: how many
    """
    return _encoder(shape, features)


@fault("encoder", "documents_options", "--aepipe-spec encoder:needs_an_option:levels=VALUE")
def needs_an_option(shape, features, *, levels: int):
    """An option without default.

    levels: how many
    """
    return _encoder(shape, features)


@fault("encoder", "defaults_survive_spec_strings", "choose a default of the annotated type (int)")
def has_a_default_of_another_type(shape, features, *, levels: int = 2.5):  # type: ignore[assignment]
    """An int with a default of 2.5.

    levels: how many
    """
    return _encoder(shape, features)


@fault("encoder", "defaults_survive_spec_strings", "a spec string can hold")
def has_a_default_with_a_quote(shape, features, *, mode: str = 'a"b'):
    """A text that no spec string can hold.

    mode: which
    """
    return _encoder(shape, features)


@fault("encoder", "refuses_with_value_error", "raise ValueError with one sentence")
def does_not_check_its_options(shape, features, *, width: int = 8):
    """A width that goes to torch unchecked.

    width: of the hidden layer
    """
    from math import prod

    from torch import nn

    return nn.Sequential(nn.Flatten(), nn.Linear(prod(shape), width), nn.ReLU(), nn.Linear(width, features))
