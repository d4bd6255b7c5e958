"""Interpolation paths: straight lines, arcs about the mean code, arcs in the noise of a density."""

from __future__ import annotations

from pathlib import Path

import aepipe
import numpy as np
import pytest
from aepipe import figures
from aepipe.errors import BadInput
from aepipe.images.data import open_images
from aepipe.runtime import interpolation as paths
from aepipe.runtime.model import between


@pytest.fixture(scope="module")
def model(kept_bundle: Path):
    with aepipe.load(kept_bundle, "cpu") as model:
        yield model


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return open_images("digits", limit=12).read(np.arange(12)) / np.float32(255)


@pytest.mark.parametrize(
    ("path", "density"), [("linear", None), ("slerp", None), ("density", None), ("density", "pca")]
)
def test_the_ends_are_the_codes(path: str, density: str | None, model, images) -> None:
    strips = model.interpolate(images[::2], images[1::2], 5, path, density)
    assert strips.shape == (6, 5, 1, 28, 28) and strips.dtype == np.float32
    np.testing.assert_allclose(strips[:, 0], model.reconstruct(images[::2]), atol=1e-4)
    np.testing.assert_allclose(strips[:, -1], model.reconstruct(images[1::2]), atol=1e-4)


def test_an_arc_about_the_mean_turns_evenly_and_interpolates_lengths(model, images) -> None:
    mean = model.bundle.codes()[0].mean(0)
    start, end = model.encode(images[::2]), model.encode(images[1::2])
    codes = between(model, start, end, 9, "slerp", None)
    away = codes - mean
    lengths = np.linalg.norm(away, axis=2)
    np.testing.assert_allclose(lengths, np.linspace(lengths[:, 0], lengths[:, -1], 9, axis=1), rtol=1e-3)
    unit = away / lengths[..., None]
    turns = np.arccos(np.clip((unit[:, 1:] * unit[:, :-1]).sum(2), -1, 1))
    np.testing.assert_allclose(turns, np.broadcast_to(turns.mean(1, keepdims=True), turns.shape), atol=1e-3)
    np.testing.assert_allclose(
        model.interpolate(images[::2], images[1::2], 9, "slerp"),
        model.decode(codes.reshape(-1, 8)).reshape(6, 9, 1, 28, 28),
    )


def test_the_density_path_is_an_arc_in_its_noise(model, images) -> None:
    assert paths.path_density(model.bundle, "density", None) == "pca", "the last that has an inverse"
    start, end = model.encode(images[:1]), model.encode(images[1:2])
    codes = between(model, start, end, 7, "density", "pca")[0]
    lengths = np.linalg.norm(model.noise(codes, "pca"), axis=1)
    np.testing.assert_allclose(lengths, np.linspace(lengths[0], lengths[-1], 7), rtol=1e-3)
    straight = np.linspace(start[0], end[0], 7)
    assert np.linalg.norm(model.noise(straight, "pca")[3]) < lengths[3], "the straight line cuts through the centre"
    density = model.run("log_prob", np.stack([codes[3], straight[3]]).astype(np.float32), "pca")
    assert np.isfinite(density).all()


def test_ends_without_a_single_arc_are_joined_by_a_line() -> None:
    start = np.array([[1.0, 0], [2, 0], [0, 0], [1, 1]], np.float32)
    end = np.array([[-1.0, 0], [4, 0], [1, 0], [1, 1]], np.float32)
    np.testing.assert_allclose(paths.arc(start, end, 5), np.linspace(start, end, 5, axis=1), atol=1e-6)
    quarter = paths.arc(np.array([[1.0, 0]]), np.array([[0.0, 1]]), 3)
    np.testing.assert_allclose(quarter[0, 1], [np.sqrt(0.5)] * 2, atol=1e-6)


def test_the_figure_says_its_path(call, kept_bundle: Path, tmp_path: Path, monkeypatch) -> None:
    said = []
    strips = figures.strips
    monkeypatch.setattr(
        figures, "strips", lambda lines, **texts: said.append(texts["subtitle"]) or strips(lines, **texts)
    )
    for options in (["--path", "linear"], ["--path", "slerp"], ["--path", "density", "--density", "gaussian"]):
        words = ["infer", "interpolate", kept_bundle, "digits", "-o", tmp_path / "strips.png", "--pairs", 2, *options]
        outcome = call(*words, "--provider", "cpu")
        assert outcome.code == 0, outcome.err
    assert "straight line" in said[0] and "mean code" in said[1] and said[2].endswith("density gaussian, from 0 to 1")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--path", "density", "--density", "gmm"], "'gmm' has no inverse"),
        (["--path", "density", "--density", "pcaa"], "no density 'pcaa'"),
        (["--path", "slerp", "--density", "pca"], "takes no density"),
        (["--path", "bent"], "bent"),
    ],
)
def test_paths_that_cannot_be_are_refused(
    options: list[str], says: str, call, kept_bundle: Path, tmp_path: Path
) -> None:
    outcome = call(
        "infer", "interpolate", kept_bundle, "digits", "-o", tmp_path / "no.png", *options, "--provider", "cpu"
    )
    assert outcome.code == 2 and says in outcome.err
    assert not (tmp_path / "no.png").exists()
    if "gmm" in options:
        assert "gaussian, pca" in outcome.err


def test_an_unknown_path_in_python(model, images) -> None:
    with pytest.raises(BadInput, match="no path 'sleep'"):
        model.interpolate(images[:1], images[1:2], path="sleep")
