"""What data sets of plugins give: what is neither an array nor read by index is named in a sentence, with the plugin."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from aepipe import AepipeError, hookimpl
from aepipe.images.data import open_images

SAMPLES = np.zeros((6, 1, 4, 4), np.float32)


def giving(samples: Any, **more: Any) -> SimpleNamespace:
    return SimpleNamespace(load=lambda split: samples, **more)


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (lambda split: SAMPLES, "gives a function, where an object with load(split) is needed"),
        (SAMPLES, "gives a ndarray, where an object with load(split) is needed"),
        (None, "gives nothing, where an object with load(split) is needed"),
        (SimpleNamespace, "gives the class SimpleNamespace, where an object"),
        (SimpleNamespace(load=SAMPLES), "gives a SimpleNamespace, where an object"),
        (
            giving(lambda: SAMPLES),
            "gives a function, where an array [N, C, *sides] or an object with shape, len and read",
        ),
        (giving((SAMPLES, None)), "gives a tuple, where an array"),
        (giving(None), "gives nothing, where an array"),
        (giving({"images": SAMPLES}), "gives a dict, where an array"),
        (giving(SAMPLES, labels=lambda split: len), "gives a builtin_function_or_method, where one number for each"),
        (giving(SAMPLES, labels=lambda split: np.zeros((6, 2))), "gives an array [6, 2], where one number for each"),
    ],
)
def test_a_data_set_that_gives_something_else_is_named(register, made: Any, sentence: str) -> None:
    class Offers:
        @hookimpl
        def register_datasets(self, register):
            register(lambda: made, name="mine")

    register(Offers(), "theirs")
    with pytest.raises(AepipeError) as caught:
        open_images("mine")
    assert sentence in caught.value.message and "dataset 'mine' of theirs" in caught.value.message
    assert "the authors of theirs" in caught.value.hint and "\n" not in caught.value.message


def test_options_without_documentation_are_listed(register, call) -> None:
    class Offers:
        @hookimpl
        def register_datasets(self, register):
            register(bare, name="bare")

    def bare(*, count: int = 3):
        return giving(SAMPLES)

    register(Offers(), "theirs")
    outcome = call("list", "dataset", "bare")
    assert outcome.code == 0 and "count" in outcome.out and "write: bare:count=VALUE" in outcome.out
