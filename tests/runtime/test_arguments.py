"""What Python users hand to a model: it is used, or refused in a sentence."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import aepipe
import numpy as np
import pytest
import torch
from aepipe.errors import AepipeError, BadInput
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

STRANGE: list[Any] = [
    *(None, True, 0, -1, 2.5, 10**30, 3j, object(), np.nan, np.float32(2), np.array(2.5), np.ones(3), torch.ones(2)),
    *("", "nope", "a\0b", "\ud800", "x" * 5000, "nowhere/x", "~nobody/x", b"nope", Path("nowhere"), Path("x" * 300)),
    *([], ["nope"], [None], [b"nope"], (), {}, {"a": 1}, {"a"}, iter("ab"), range(3), np.array(["a"])),
    torch.ones(2, device="meta"),
]  # fmt: skip


class Named(os.PathLike):
    """A path of somebody's own, as text or as bytes."""

    def __init__(self, path: str | bytes):
        self.path = path

    def __fspath__(self) -> str | bytes:
        return self.path


def image(model: aepipe.Model) -> np.ndarray:
    return np.full((2, *model.shape), 0.5, np.float32)


CALLS = {
    "encode": lambda model, value: model.encode(value),
    "reconstruct": lambda model, value: model.reconstruct(value),
    "score": lambda model, value: model.score(value),
    "decode": lambda model, value: model.decode(value),
    "noise": lambda model, value: model.noise(value, model.bundle.densities[0]),
    "from_noise": lambda model, value: model.from_noise(value, model.bundle.densities[0]),
    "sample count": lambda model, value: model.sample(min(value, 9) if isinstance(value, int) else value),
    "sample density": lambda model, value: model.sample(1, value),
    "sample seed": lambda model, value: model.sample(1, seed=value),
    "score density": lambda model, value: model.score(image(model), value),
    "interpolate from": lambda model, value: model.interpolate(value, image(model), 2),
    "interpolate to": lambda model, value: model.interpolate(image(model), value, 2),
    "interpolate steps": lambda model, value: model.interpolate(
        *[image(model)] * 2, min(value, 9) if isinstance(value, int) else value
    ),
    "interpolate path": lambda model, value: model.interpolate(image(model), image(model), 2, value),
    "interpolate density": lambda model, value: model.interpolate(image(model), image(model), 2, "density", value),
    "load": lambda model, value: aepipe.load(value, "cpu"),
    "load provider": lambda model, value: aepipe.load(model.bundle.directory, value),
    "load precision": lambda model, value: aepipe.load(model.bundle.directory, "cpu", precision=value),
    "load threads": lambda model, value: aepipe.load(model.bundle.directory, "cpu", threads=value).sample(1),
    "load batch_size": lambda model, value: aepipe.load(model.bundle.directory, "cpu", batch_size=value).sample(2),
    "Model": lambda model, value: aepipe.Model(value, "cpu"),
    "Run": lambda model, value: aepipe.Run(value),
}


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(CALLS)), st.sampled_from(STRANGE))
def test_arguments_of_any_kind_are_used_or_refused(kept_bundle: Path, call: str, value: Any) -> None:
    with aepipe.load(kept_bundle, "cpu", threads=1) as model:
        try:
            CALLS[call](model, value)
        except AepipeError as error:
            assert error.hint and "\n" not in error.message and len(str(error)) < 1500
            assert " -o" not in str(error).replace("'aepipe train -o RUN'", "") and "--" not in error.hint


@pytest.mark.parametrize(
    "kind", [str, os.fsencode, Path, lambda path: Named(str(path)), lambda path: Named(os.fsencode(path))]
)
def test_paths_of_any_kind(kept_bundle: Path, tmp_path: Path, kind: Any) -> None:
    expected = aepipe.load(kept_bundle, "cpu").sample(1)
    assert np.array_equal(aepipe.load(kind(kept_bundle), "cpu").sample(1), expected)
    assert np.array_equal(aepipe.Model(kind(kept_bundle), "cpu").sample(1), expected)
    for text in ("x" * 300, "a\0b"):
        with pytest.raises(BadInput):
            aepipe.load(kind(text), "cpu")


def test_noise_is_checked_as_codes_are(kept_bundle: Path) -> None:
    model = aepipe.load(kept_bundle, "cpu")
    name = model.bundle.densities[0]
    noise = np.random.default_rng(0).standard_normal((3, model.bundle.noise_features(name)))
    assert np.array_equal(model.from_noise(noise.tolist(), name), model.from_noise(noise.astype(np.float32), name))
    for wrong in (noise[:0], noise[:, :1], noise * np.nan, noise[0]):
        with pytest.raises(BadInput):
            model.from_noise(wrong, name)


def test_numpys_settings_of_the_caller_change_nothing(kept_bundle: Path) -> None:
    model = aepipe.load(kept_bundle, "cpu")
    images = np.random.default_rng(0).integers(0, 256, (4, *model.shape), np.uint8)
    calls = [
        lambda: model.score(images)["error"],
        lambda: model.interpolate(images, images[::-1], 3, "slerp"),
        lambda: model.interpolate(images, images, 3, "density"),
        lambda: model.decode(np.full((2, model.latent), 1e-300)),
        lambda: model.encode(np.full((2, *model.shape), 1e-300)),
        lambda: model.score(np.zeros_like(images))["error"],
    ]
    expected = [call() for call in calls]
    with np.errstate(all="raise"):
        for call, result in zip(calls, expected, strict=True):
            assert np.array_equal(call(), result)


def test_no_graph_gets_more_threads_than_a_system_has(kept_bundle: Path) -> None:
    with pytest.raises(BadInput, match="more than 1024"):
        aepipe.load(kept_bundle, "cpu", threads=100_000).sample(1)
