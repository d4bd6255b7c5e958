"""MSE, PSNR and SSIM against slow and obvious implementations, and `aepipe eval` on a run and on its bundle."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from aepipe.images.corruption import spoiled
from aepipe.images.data import open_images
from aepipe.judging.metrics import evaluate, psnr, ssim
from aepipe.plugins.lookup import create


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


@pytest.mark.parametrize("more", [[], ["--corrupt", "gaussian:sigma=0.4", "--seed", "3"]])
def test_run_and_bundle_agree(call, digits_run, digits_bundle: Path, more: list[str]) -> None:
    arguments = ["--data", "digits", "--limit", "100", "--json", *more]
    run = call("eval", digits_run.directory, *arguments)
    bundle = call("eval", digits_bundle, "--provider", "cpu", "--batch-size", "7", *arguments)
    assert run.code == bundle.code == 0
    first, second = json.loads(run.out), json.loads(bundle.out)
    assert set(first) - {"mse_input"} == {"model", "data", "input", "mse", "psnr", "ssim", "count"}
    assert ("mse_input" in first) == bool(more)
    assert first["input"] == second["input"] and first["input"]["count"] == 100
    for key in set(first) - {"model", "input"}:
        assert second[key] == (pytest.approx(first[key], abs=1e-6, rel=1e-6) if key != "data" else first[key]), key


def test_eval_table_and_refusals(call, digits_run, digits_bundle: Path) -> None:
    outcome = call("eval", digits_bundle, "--data", "digits", "--limit", "5", "--provider", "cpu")
    assert outcome.code == 0 and "count" in outcome.out and "ssim" in outcome.out
    refused = call("eval", digits_run.directory, "--data", "digits", "--provider", "cuda")
    assert refused.code == 2 and "--provider belongs to a bundle" in refused.err
