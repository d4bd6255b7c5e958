"""MSE, PSNR and SSIM against slow and obvious implementations, and `aepipe eval` on a run and on its bundle."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aepipe.errors import AepipeError
from aepipe.images.corruption import spoiled
from aepipe.images.data import open_images
from aepipe.judging.metrics import Spread, evaluate, normalised, psnr, psnr_between, snr, ssim
from aepipe.plugins.lookup import create
from aepipe.space import Raw
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays


def slow_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Wang et al. (2004), window by window, for one channel [H, W] in 0..1."""
    size = min(11, *(side if side % 2 else side - 1 for side in a.shape))
    centre = size // 2
    window = np.array(
        [[math.exp(-((y - centre) ** 2 + (x - centre) ** 2) / (2 * 1.5**2)) for x in range(size)] for y in range(size)]
    )
    window /= window.sum()
    values = []
    for top in range(a.shape[0] - size + 1):
        for left in range(a.shape[1] - size + 1):
            p, q = (image[top : top + size, left : left + size].astype(float) for image in (a, b))
            mp, mq = (window * p).sum(), (window * q).sum()
            vp, vq = (window * (p - mp) ** 2).sum(), (window * (q - mq) ** 2).sum()
            both = (window * (p - mp) * (q - mq)).sum()
            top_line = (2 * mp * mq + 0.01**2) * (2 * both + 0.03**2)
            values.append(top_line / ((mp**2 + mq**2 + 0.01**2) * (vp + vq + 0.03**2)))
    return float(np.mean(values))


@pytest.mark.parametrize("shape", [(2, 1, 28, 28), (2, 3, 16, 13), (1, 1, 8, 8), (1, 1, 3, 12)])
def test_ssim_is_that_of_the_paper(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    a = rng.random(shape, dtype=np.float32)
    b = np.clip(a + 0.3 * rng.standard_normal(shape, dtype=np.float32), 0, 1)
    expected = [np.mean([slow_ssim(p, q) for p, q in zip(x, y, strict=True)]) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(ssim(a, b), expected, atol=1e-9)
    np.testing.assert_allclose(ssim(a, a), 1, atol=1e-9)
    assert (ssim(a, 1 - a) < ssim(a, b)).all()


def test_psnr() -> None:
    assert psnr(0.01) == pytest.approx(20)
    assert psnr(1) == 0
    assert psnr(0) == math.inf


def test_evaluate_weighs_every_image_alike() -> None:
    images = np.random.default_rng(0).random((10, 1, 8, 8), dtype=np.float32)
    source = open_images(images)
    found = evaluate(lambda batch: batch * 0.5, source, batch_size=4)
    mse = float(np.square(images * 0.5, dtype=np.float64).mean())
    assert found["count"] == 10 and found["mse"] == pytest.approx(mse, rel=1e-6)
    assert found["psnr"] == pytest.approx(-10 * math.log10(mse), rel=1e-6)
    assert found["psnr_mean"] == pytest.approx(np.mean([psnr_between(each * 0.5, each) for each in images]), rel=1e-6)
    assert found["ssim"] == pytest.approx(ssim(images * 0.5, images).mean(), rel=1e-6)


def test_corruption_belongs_to_the_image_not_to_its_batch() -> None:
    images = np.random.default_rng(0).random((9, 1, 8, 8), dtype=np.float32)
    source, corrupt = open_images(images), create("corruption", "gaussian:sigma=0.3")
    found = [evaluate(lambda batch: batch, source, corrupt=corrupt, seed=1, batch_size=size) for size in (1, 4, 9)]
    assert found[0]["mse"] == pytest.approx(found[1]["mse"], rel=1e-9) == pytest.approx(found[2]["mse"], rel=1e-9)
    assert found[0]["mse"] == found[0]["mse_input"] > 0.02, "the target is the clean image"
    other = evaluate(lambda batch: batch, source, corrupt=corrupt, seed=2)
    assert other["mse"] != found[0]["mse"]
    whole = spoiled(corrupt, images, np.arange(9), 1)
    np.testing.assert_array_equal(spoiled(corrupt, images[[7, 2]], np.array([7, 2]), 1), whole[[7, 2]])


MODERATE = st.floats(-1000, 1000, width=16)
SAMPLES = array_shapes(min_dims=2, max_dims=5, max_side=4).flatmap(lambda s: arrays(np.float32, s, elements=MODERATE))


def unbounded(values: np.ndarray, reconstruct: Any = lambda batch: batch, **asked: Any) -> dict[str, Any]:
    source = open_images(values, layout=["NC", "NCL", "NCHW", "NCDHW"][values.ndim - 2], raw=Raw(dtype="float32"))
    return evaluate(reconstruct, source, unbounded=True, **asked)


@settings(deadline=None, max_examples=60)
@given(SAMPLES, st.integers(1, 5))
def test_unbounded_samples_of_every_rank_have_their_snr(values: np.ndarray, batch_size: int) -> None:
    found = unbounded(values, lambda batch: batch * np.float32(0.5) + 1, batch_size=batch_size)
    error = float(np.square(values.astype(float) / 2 - 1).mean())
    assert set(found) == {"mse", "nmse", "snr", "count"} and found["count"] == len(values)
    assert found["mse"] == pytest.approx(error, rel=1e-5)
    variance = float(values.astype(float).var())
    if variance > 1e-9 and error:
        assert found["nmse"] == pytest.approx(error / variance, rel=1e-5)
        assert found["snr"] == pytest.approx(10 * math.log10(variance / error), abs=1e-3)
    exact = unbounded(values, batch_size=batch_size)
    assert (exact["mse"], exact["nmse"], exact["snr"]) == (0, 0, math.inf)


@settings(deadline=None, max_examples=60)
@given(arrays(np.float32, st.integers(1, 60), elements=MODERATE), st.lists(st.integers(0, 60), max_size=6))
def test_variance_does_not_depend_on_the_parts(values: np.ndarray, cuts: list[int]) -> None:
    spread = Spread()
    for part in np.split(values, sorted(cuts)):  # some of them empty
        spread.add(part)
    assert spread.variance == pytest.approx(values.astype(float).var(), rel=1e-9, abs=1e-9)


def test_normalised_error_and_snr_of_extremes() -> None:
    assert (normalised(0, 0), normalised(1, 0), normalised(2, 8)) == (0, math.inf, 0.25)
    assert (snr(0), snr(1), snr(0.001), snr(math.inf)) == (math.inf, 0, pytest.approx(30), -math.inf)
    values = np.random.default_rng(0).normal(1000, 3, (50, 2, 8)).astype(np.float32)
    by_the_mean = unbounded(values, lambda batch: np.full_like(batch, values.astype(float).mean()))
    assert by_the_mean["snr"] == pytest.approx(0, abs=1e-3), "an offset of the data is no signal"
    assert unbounded(np.full((3, 4), 7, np.float32), lambda batch: batch + 1)["snr"] == -math.inf


def test_restored_samples_are_judged_beside_the_spoiled_ones() -> None:
    values = np.random.default_rng(0).normal(0, 3, (50, 1, 64)).astype(np.float32)
    spoil = lambda batch, rng: batch + rng.normal(0, 0.3, batch.shape).astype(np.float32)  # noqa: E731
    found = unbounded(values, lambda batch: batch, corrupt=spoil)
    assert found["nmse_input"] == found["nmse"] == pytest.approx(0.01, rel=0.1)
    assert found["snr_input"] == found["snr"] == pytest.approx(20, abs=0.5)
    better = unbounded(values, lambda batch: batch / np.float32(1.01), corrupt=spoil)
    assert better["snr"] > better["snr_input"]


@pytest.mark.parametrize("shape", [(4, 6), (4, 2, 9), (4, 1, 5, 5), (4, 1, 3, 4, 5)])
def test_only_images_have_ssim_and_wrong_reconstructions_are_refused(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).random(shape, dtype=np.float32)
    source = open_images(values, layout=["NC", "NCL", "NCHW", "NCDHW"][len(shape) - 2])
    found = evaluate(lambda batch: batch, source)
    assert set(found) == {"mse", "psnr", "psnr_mean", "count"} | ({"ssim"} if len(shape) == 4 else set())

    def spoiled_third(batch: np.ndarray) -> np.ndarray:
        batch = batch.copy()
        batch[0].flat[0] = np.nan
        return batch

    with pytest.raises(AepipeError, match="index 3 contains NaN") as refused:
        evaluate(lambda batch: spoiled_third(batch) if len(batch) == 1 else batch, source, batch_size=3)
    assert refused.value.hint
    with pytest.raises(AepipeError, match="were reconstructed as"):
        evaluate(lambda batch: batch[:, :1, ...].repeat(shape[1] + 1, 1), source)


@pytest.mark.parametrize("more", [[], ["--corrupt", "gaussian:sigma=0.4", "--seed", "3"]])
def test_run_and_bundle_agree(call, digits_run, digits_bundle: Path, more: list[str]) -> None:
    arguments = ["--data", "digits", "--limit", "100", "--json", *more]
    run = call("eval", digits_run.directory, *arguments)
    bundle = call("eval", digits_bundle, "--provider", "cpu", "--batch-size", "7", *arguments)
    assert run.code == bundle.code == 0
    first, second = json.loads(run.out), json.loads(bundle.out)
    assert set(first) - {"mse_input"} == {"model", "data", "input", "mse", "psnr", "psnr_mean", "ssim", "count"}
    assert ("mse_input" in first) == bool(more)
    assert first["input"] == second["input"] and first["input"]["count"] == 100
    for key in set(first) - {"model", "input"}:
        assert second[key] == (pytest.approx(first[key], abs=1e-6, rel=1e-6) if key != "data" else first[key]), key


def test_eval_table_and_refusals(call, digits_run, digits_bundle: Path) -> None:
    outcome = call("eval", digits_bundle, "--data", "digits", "--limit", "5", "--provider", "cpu")
    assert outcome.code == 0 and "count" in outcome.out and "ssim" in outcome.out
    refused = call("eval", digits_run.directory, "--data", "digits", "--provider", "cuda")
    assert refused.code == 2 and "--provider belongs to a bundle" in refused.err
