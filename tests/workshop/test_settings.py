"""Settings of the whole process, and numbers of other kinds: training and export give the same whatever they are."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator

import aepipe
import numpy as np
import pytest
import torch
from aepipe.errors import BadInput
from aepipe.workshop.run import Run
from aepipe.workshop.training.recipe import Recipe
from aepipe.workshop.training.surroundings import ordinary_settings
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.folders import contents
from tests.helpers.images import blobs
from tests.helpers.networks import Identity, decoder_of, encoder_of
from tests.helpers.settings import STEADY


@contextlib.contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@contextlib.contextmanager
def rough_products() -> Iterator[None]:
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision("highest")


@contextlib.contextmanager
def default_device(name: str) -> Iterator[None]:
    torch.set_default_device(name)
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextlib.contextmanager
def strict_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


SETTINGS: dict[str, Callable[[], contextlib.AbstractContextManager]] = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "float64": lambda: default_dtype(torch.float64),
    "float16": lambda: default_dtype(torch.float16),
    "meta": lambda: default_device("meta"),
    "with meta": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "deterministic": deterministic,
    "rough products": rough_products,
    "warnings are errors": strict_warnings,
    "numpy raises": lambda: np.errstate(all="raise"),
}


def state() -> tuple:
    return (
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.get_float32_matmul_precision(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        [each[0] for each in warnings.filters],
        np.geterr(),
    )


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Run:
    run = aepipe.fit(blobs(), out=tmp_path_factory.mktemp("plain") / "run", **STEADY)
    run.export(run.directory.parent / "bundle", show=False)
    return run


@pytest.mark.trains
@pytest.mark.parametrize("name", SETTINGS)
def test_training_and_export_are_the_same(plain: Run, tmp_path, name: str):
    with SETTINGS[name]():
        before = state()
        run = aepipe.fit(blobs(), out=tmp_path / "run", **STEADY)
        run.fit_density("gaussian")
        bundle = run.export(tmp_path / "bundle", show=False)
        assert state() == before
    graphs = {file: content for file, content in contents(bundle).items() if file.endswith(".onnx")}
    expected = contents(plain.directory.parent / "bundle")
    assert [file for file, content in graphs.items() if expected[file] != content] == []
    assert all(each.dtype == torch.float32 for each in run.model().parameters())


@pytest.mark.parametrize("name", SETTINGS)
def test_modules_are_exported_under_all_of_them(tmp_path, name: str):
    encoder, decoder = encoder_of(Identity()), decoder_of(Identity())
    with SETTINGS[name]():
        out = aepipe.export_modules(encoder, decoder, blobs(), tmp_path / "out", show=False)
    with torch.no_grad():
        codes = encoder(torch.from_numpy(blobs() / np.float32(255)))
    np.testing.assert_allclose(aepipe.load(out, "cpu").encode(blobs()), codes.numpy(), atol=1e-5)


def test_the_settings_are_put_back_after_an_error():
    with default_dtype(torch.float64), deterministic(), strict_warnings():
        before = state()
        with pytest.raises(ZeroDivisionError), ordinary_settings():
            assert torch.ones(1).dtype == torch.float32 and torch.is_deterministic_algorithms_warn_only_enabled()
            raise ZeroDivisionError
        assert state() == before


# Numbers of other kinds


@pytest.mark.trains
def test_numpys_numbers_go_wherever_numbers_go(tmp_path):
    options = {
        **STEADY,
        "latent_dim": np.int64(2),
        "epochs": np.uint8(1),
        "batch_size": np.int32(20),
        "lr": np.float32(1e-3),
        "seed": np.int16(3),
        "patience": np.array(0),
        "limit": np.int64(40),
        "skip_bad": np.bool_(False),
    }
    run = aepipe.fit(blobs(), out=tmp_path / "run", **options)
    plain = {key: value.item() if hasattr(value, "item") else value for key, value in options.items()}
    same = aepipe.fit(blobs(), out=tmp_path / "same", **plain)
    assert {**run.config, "metrics": None} == {**same.config, "metrics": None}
    assert aepipe.resume(run.directory, blobs(), epochs=np.int64(2), show=False).config["metrics"]["epochs"] == 2
    run.export(tmp_path / "bundle", max_drop=np.float64(0.5), show=False)
    modules = encoder_of(Identity()), decoder_of(Identity())
    numbers = {"mean": np.float32(0.5), "std": np.float64(0.5), "limit": np.int64(40)}
    aepipe.export_modules(*modules, blobs(), tmp_path / "theirs", **numbers, show=False)


@given(st.sampled_from(["epochs", "batch_size", "patience", "seed"]), st.data())
def test_whole_numbers_of_any_kind(name: str, data):
    value = data.draw(st.integers(1, 100))
    kind = data.draw(st.sampled_from([int, np.int8, np.uint16, np.int64, np.array, torch.tensor]))
    recipe = Recipe(**{name: kind(value)})
    assert getattr(recipe, name) == value and type(getattr(recipe, name)) is int


@pytest.mark.parametrize("value", [2.5, 3.0, np.float64(3), "3", None, True, np.bool_(True), [3], np.ones(2), 3j])
@pytest.mark.parametrize("name", ["epochs", "seed", "latent_dim", "limit", "channels"])
def test_what_is_no_whole_number_is_refused(tmp_path, name: str, value: object):
    if value is None and name in ("limit", "channels", "latent_dim"):
        return
    if name == "latent_dim" and isinstance(value, str | list):  # a code's size may be written as a text or a shape
        return
    with pytest.raises(BadInput, match="whole number"):
        aepipe.fit(blobs(), out=tmp_path / "run", **{**STEADY, name: value})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"lr": "fast"}, "learning rate"),
        ({"lr": None}, "learning rate"),
        ({"seed": 2**63}, "seed"),
        ({"image_size": (3, 4, 5)}, "size of the images"),
        ({"image_size": 2.5}, "size of the images"),
        ({"image_size": (8, 0)}, "side of the images"),
    ],
)
def test_other_numbers_that_are_refused(tmp_path, options: dict, said: str):
    with pytest.raises(BadInput, match=said):
        aepipe.fit(blobs(), out=tmp_path / "run", **{**STEADY, **options})
