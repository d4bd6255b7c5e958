"""What the graphs for bytes and for whole tasks compute."""

from __future__ import annotations

import shutil
from pathlib import Path

import aepipe
import numpy as np
import pytest
from aepipe.bundle.reader import Bundle
from aepipe.errors import ParityError
from torch import nn

from tests.helpers.bundles import run_graph
from tests.helpers.folders import contents
from tests.helpers.images import as_floats, some_bytes

pytestmark = pytest.mark.trains

# What they compute


@pytest.mark.parametrize("count", [1, 5, 64])
def test_bytes_are_exact(bundle: Path, count: int):
    pixels = some_bytes(Bundle(bundle).shape, count)
    codes = run_graph(bundle / "encoder.uint8.onnx", image=pixels)
    np.testing.assert_array_equal(codes, run_graph(bundle / "encoder.onnx", image=as_floats(pixels)))
    decoded = run_graph(bundle / "decoder.uint8.onnx", latent=codes)
    floats = run_graph(bundle / "decoder.onnx", latent=codes)
    assert decoded.dtype == np.uint8 and decoded.shape == pixels.shape and len(np.unique(decoded)) > 20
    np.testing.assert_array_equal(decoded, np.rint(floats * 255).astype(np.uint8).transpose(0, 2, 3, 1))


def test_halves_are_rounded_to_even_and_values_beyond_white_and_black_are_clipped(tmp_path):
    """A decoder that gives its codes back shows what happens to any pixel."""
    images = np.random.default_rng(0).random((40, 1, 16, 16), dtype=np.float32)
    decoder = nn.Unflatten(1, (1, 16, 16))
    out = aepipe.export_modules(
        nn.Flatten(), decoder, images, tmp_path / "x", densities=(), io="uint8", lower="none", show=False
    )
    halves = (np.arange(256, dtype=np.float32) + np.float32(0.5)) / np.float32(255)
    exact = halves * np.float32(255) == np.arange(256) + 0.5
    assert exact.sum() > 200
    got = run_graph(out / "decoder.uint8.onnx", latent=halves[None]).ravel()
    below = np.arange(256)
    np.testing.assert_array_equal(got[:255][exact[:255]], (below + below % 2)[:255][exact[:255]])
    extremes = np.resize(np.float32([-1e9, -0.2, 1.2, 1e9]), (1, 256))
    assert run_graph(out / "decoder.uint8.onnx", latent=extremes).ravel()[:4].tolist() == [0, 0, 255, 255]
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)  # every byte goes there and back
    back = run_graph(out / "decoder.uint8.onnx", latent=run_graph(out / "encoder.uint8.onnx", image=levels))
    np.testing.assert_array_equal(back, levels)


@pytest.mark.parametrize("count", [1, 6])
def test_whole_tasks_compute_what_the_runtime_computes(bundle: Path, count: int):
    images = as_floats(some_bytes(Bundle(bundle).shape, 2 * count))
    a, b = images[:count], images[count:]
    with aepipe.load(bundle, "cpu") as model:
        near = {"atol": 1e-5, "rtol": 0}
        np.testing.assert_allclose(run_graph(bundle / "reconstruct.onnx", image=a), model.reconstruct(a), **near)
        for density in ("gaussian", "pca"):
            size = (count, model.bundle.noise_features(density))
            noise = np.random.default_rng(7).standard_normal(size, dtype=np.float32)
            drawn = run_graph(bundle / f"generate/{density}.onnx", noise=noise)
            np.testing.assert_allclose(drawn, model.sample(count, density, seed=7), **near)
        lines = model.interpolate(a, b, steps=5)
        interpolate, alpha = bundle / "interpolate.onnx", np.linspace(0, 1, 5, dtype=np.float32)
        for k in range(count):  # one pair, five alphas
            pair = {"image_a": a[k : k + 1], "image_b": b[k : k + 1]}
            np.testing.assert_allclose(run_graph(interpolate, **pair, alpha=alpha), lines[k], **near)
        for k in range(5):  # as many pairs as alphas
            found = run_graph(interpolate, image_a=a, image_b=b, alpha=np.full(count, alpha[k]))
            np.testing.assert_allclose(found, lines[:, k], **near)
        star = run_graph(
            interpolate, image_a=a, image_b=b[:1], alpha=np.full(count, np.float32(0.5))
        )  # one end for all
        np.testing.assert_allclose(star, model.interpolate(a, b[:1].repeat(count, 0), steps=3)[:, 1], **near)


@pytest.mark.parametrize(
    ("graph", "right", "wrong", "name"),
    [("TO_BYTES", "Round", "Floor", "decoder.uint8"), ("BETWEEN", "Sub (one", "Mul (one", "interpolate")],
)
def test_a_graph_that_computes_something_else_is_refused(
    monkeypatch, colour_run, colour_bytes, tmp_path, graph, right, wrong, name
):
    from aepipe.workshop.graphs import composing as whole_task

    text = getattr(whole_task, graph)
    monkeypatch.setattr(whole_task, graph, text.replace(right, wrong))
    out = Path(shutil.copytree(colour_bytes, tmp_path / "out"))
    with pytest.raises(ParityError, match=f"the graph of {name} differs from the graphs it is made of"):
        colour_run.export(out, io="uint8", show=False)
    assert contents(out) == contents(colour_bytes) and [path.name for path in tmp_path.iterdir()] == ["out"]
