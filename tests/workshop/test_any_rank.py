"""Rows, signals, images and volumes, of any range: trained, exported, used from Python and on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aepipe
import numpy as np
import pytest

from tests.helpers.bundles import manifest_of

pytestmark = pytest.mark.trains

SETTINGS: dict[str, Any] = {"encoder": "mlp:hidden=16", "decoder": "mlp:hidden=16", "latent_dim": 3, "epochs": 2}


def samples(kind: str, count: int = 60) -> np.ndarray:
    rng = np.random.default_rng(0)
    if kind == "row":
        return rng.normal(50, 20, (count, 1)) + rng.normal(0, 3, (count, 12))
    if kind == "signal":
        time, centre = np.linspace(0, 1, 64), rng.uniform(0.2, 0.8, (count, 2, 1))
        return rng.uniform(-50, 50, (count, 2, 1)) * np.exp(-(((time - centre) / 0.1) ** 2))
    if kind == "volume":
        return rng.random((count, 1, 3, 4, 5)) ** 2
    return rng.integers(100, 4000, (count, 8, 9)).astype(np.uint16)


ASKED: dict[str, dict[str, Any]] = {
    "row": {"range": "none"},
    "signal": {"range": "none", "layout": "NCL"},
    "image": {"range": "0..4095"},
    "volume": {},
}


@pytest.fixture(scope="module", params=ASKED)
def made(request, tmp_path_factory) -> tuple[str, np.ndarray, Path]:
    kind, home = request.param, tmp_path_factory.mktemp(request.param)
    values = samples(kind)
    run = aepipe.fit(values, out=home / "run", show=False, **SETTINGS, **ASKED[kind])
    return kind, values, run.export(home / "bundle", show=False)


def test_the_manifest_is_of_format_2_and_says_what_a_sample_is(made) -> None:
    kind, _, bundle = made
    entries = manifest_of(bundle)
    assert entries["format"] == 2 and entries["data"]["kind"] == kind and entries["latent"] == {"shape": [3]}
    assert entries["data"]["range"] == (None if kind in ("row", "signal") else [0, 1])
    assert entries["graphs"][0]["inputs"].keys() == {kind}
    raw = {"dtype": "uint16", "range": [0, 4095], "clip": False}
    assert entries["data"].get("raw") == {"image": raw}.get(kind, entries["data"].get("raw"))


def test_everything_works_in_the_units_of_the_data(made) -> None:
    _, values, bundle = made
    with aepipe.load(bundle, "cpu") as model:
        first = values if values.ndim == len(model.shape) + 1 else values[:, None]
        restored = model.reconstruct(values)
        assert restored.shape == first.shape and restored.dtype == np.float32
        spread = values.astype(float).std()
        assert np.abs(restored.mean() - values.mean()) < spread  # not in 0..1 where the data are not
        np.testing.assert_allclose(model.decode(model.encode(values)), restored, atol=1e-5 * spread)
        assert model.sample(5).shape == (5, *model.shape)
        ends = model.interpolate(values[:2], values[2:4], 3)
        np.testing.assert_allclose(ends[:, 0], restored[:2], atol=1e-4 * spread)
        scores = model.score(values)
        assert scores["error"].shape == (len(values),) and np.isfinite(scores["log_density"]).all()


def test_the_command_line_takes_and_gives_raw_values(made, call, tmp_path: Path) -> None:
    kind, values, bundle = made
    np.save(tmp_path / "in.npy", values)
    for task in ("reconstruct", "denoise"):
        outcome = call("infer", task, bundle, tmp_path / "in.npy", "-o", tmp_path / f"{task}.npy")
        assert outcome.code == 0, outcome.err
        restored = np.load(tmp_path / f"{task}.npy")
        assert restored.dtype == (values.dtype if kind == "image" else np.float64 if kind != "volume" else np.float32)
    for task, out in (("encode", "codes.npy"), ("score", "scores.csv"), ("interpolate", "strips.npy")):
        assert call("infer", task, bundle, tmp_path / "in.npy", "-o", tmp_path / out).code == 0
    for arguments in (("decode", bundle, tmp_path / "codes.npy"), ("sample", bundle, "--count", 7)):
        assert call("infer", *arguments, "-o", tmp_path / "out.npy").code == 0
    assert np.load(tmp_path / "out.npy").shape[0] == 7
    outcome = call("eval", bundle, "--data", tmp_path / "in.npy", "--json")
    assert outcome.code == 0 and ('"snr"' in outcome.out) == (kind in ("row", "signal"))
    outcome = call("infer", "reconstruct", bundle, tmp_path / "in.npy", "-o", tmp_path / "folder")
    assert outcome.code == (0 if kind == "image" else 2)
    assert kind == "image" or f"{kind}s are no image files" in outcome.err


def test_figures_are_drawn(made, call, tmp_path: Path) -> None:
    _, values, bundle = made
    assert (bundle / "preview.png").stat().st_size > 1000
    np.save(tmp_path / "in.npy", values)
    for task, more in (("reconstruct", [tmp_path / "in.npy"]), ("interpolate", [tmp_path / "in.npy"]), ("sample", [])):
        outcome = call("infer", task, bundle, *more, "-o", tmp_path / f"{task}.png")
        assert outcome.code == 0 and (tmp_path / f"{task}.png").stat().st_size > 1000, outcome.err


def test_values_outside_the_range_are_refused_or_clipped(made, call, tmp_path: Path) -> None:
    kind, values, bundle = made
    if kind != "image":
        return
    brighter = values.copy()
    brighter[3, 0, 0] = 5000
    np.save(tmp_path / "in.npy", brighter)
    outcome = call("infer", "encode", bundle, tmp_path / "in.npy", "-o", tmp_path / "codes.npy")
    assert outcome.code == 2 and "index 3" in outcome.err and "--clip" in outcome.err
    assert call("infer", "encode", "--clip", bundle, tmp_path / "in.npy", "-o", tmp_path / "codes.npy").code == 0


def test_a_run_of_signals_is_resumed_to_the_same_weights(tmp_path: Path) -> None:
    values = samples("signal")
    whole = aepipe.fit(values, out=tmp_path / "whole", show=False, **{**SETTINGS, "epochs": 4}, **ASKED["signal"])
    half = aepipe.fit(values, out=tmp_path / "half", show=False, **SETTINGS, **ASKED["signal"])
    resumed = aepipe.resume(half.directory, values, epochs=4, show=False)
    for name in ("codes.npz", "best.safetensors"):
        assert (whole.directory / name).read_bytes() == (resumed.directory / name).read_bytes()
