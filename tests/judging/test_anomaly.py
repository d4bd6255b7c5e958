"""Calibrated anomaly scores: `score --calibrate`, then `score --calibration`."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import aepipe
import numpy as np
import pytest
from aepipe.errors import BadInput
from aepipe.images.data import open_images
from aepipe.judging import anomaly


@pytest.fixture(scope="module")
def model(kept_bundle: Path):
    with aepipe.load(kept_bundle, "cpu") as model:
        yield model


@pytest.fixture
def score(call, kept_bundle: Path):
    def inner(*arguments: object, code: int = 0):
        outcome = call("infer", "--provider", "cpu", "score", kept_bundle, *arguments)
        assert outcome.code == code, outcome.err
        return outcome

    return inner


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The test digits in two halves, and noise, as .npy files."""
    home = tmp_path_factory.mktemp("given")
    images = open_images("digits").read(np.arange(359))
    noise = np.random.default_rng(0).integers(0, 256, (40, 1, 28, 28), np.uint8)
    files = {"usual": images[::2], "held_out": images[1::2], "noise": noise}
    for name, array in files.items():
        np.save(home / f"{name}.npy", array)
    return SimpleNamespace(home=home, **{name: home / f"{name}.npy" for name in files})


@pytest.fixture(scope="module")
def calibrated(model, given: SimpleNamespace) -> Path:
    anomaly.calibrate(model, str(given.usual), 0.1).save(given.home / "usual.json")
    return given.home / "usual.json"


def normal(count: int, seed: int) -> dict[str, np.ndarray]:
    """Scores of `count` normal images: a skewed error that goes with a low density."""
    common, own = np.random.default_rng(seed).standard_normal((2, count))
    return {"error": np.exp(common).astype(np.float32), "log_density": (own - common).astype(np.float32)}


def test_a_calibration_does_not_say_where_the_images_lie(calibrated: Path, given: SimpleNamespace) -> None:
    text = calibrated.read_text(encoding="utf-8")
    assert given.usual.name in text and str(given.home) not in text


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.3])
def test_the_alarm_rate_of_normal_images_is_the_nominal_one(rate: float, model) -> None:
    scale = anomaly.calibration(model, "gaussian", normal(20_000, 0), rate, "made up")
    assert scale.judge(normal(20_000, 1))["alarm"].mean() == pytest.approx(rate, rel=0.15)


def test_more_unusual_is_never_less_anomalous(model) -> None:
    scale = anomaly.calibration(model, "gaussian", normal(500, 0), 0.05, "made up")
    rising = np.concatenate([np.linspace(0, 50, 400), [1e3, 1e6, np.inf]])
    for scores in (
        {"error": rising, "log_density": np.zeros_like(rising)},
        {"error": np.ones_like(rising), "log_density": 5 - rising},
    ):
        judged = scale.judge(scores)
        assert (np.diff(judged["anomaly"][:-1]) >= 0).all() and (np.diff(judged["alarm"]) >= 0).all()
        assert judged["anomaly"][-2] > judged["anomaly"][-3] > judged["anomaly"][-4], (
            "no ceiling beyond the normal ones"
        )
        assert np.isposinf(judged["anomaly"][-1]) and judged["alarm"][-1] == 1
    lost = scale.judge({"error": np.array([np.nan]), "log_density": np.array([np.nan])})
    assert lost["alarm"][0] == 1, "what is not a number is not normal"


def test_calibrate_then_score(score, model, given, tmp_path: Path) -> None:
    outcome = score("--calibrate", given.usual, "-o", tmp_path / "usual.json", "--false-alarm", 0.1)
    assert "180 images" in outcome.err and "0.1" in outcome.err
    record = json.loads((tmp_path / "usual.json").read_text())
    assert (record["format"], record["pair"], record["density"]) == (1, model.bundle.pair, "gaussian")
    rates = {}
    for name in ("usual", "held_out", "noise"):
        score(getattr(given, name), "--calibration", tmp_path / "usual.json", "-o", tmp_path / "scores.csv")
        rows = list(csv.DictReader((tmp_path / "scores.csv").open()))
        assert list(rows[0]) == ["index", "error", "log_density", "anomaly", "alarm"]
        assert {row["alarm"] for row in rows} <= {"0", "1"}
        rates[name] = np.mean([int(row["alarm"]) for row in rows])
    assert 0.08 <= rates["usual"] <= 0.1 and 0.02 < rates["held_out"] < 0.2 and rates["noise"] == 1
    scale = anomaly.read(tmp_path / "usual.json", model)
    assert scale == anomaly.calibrate(model, str(given.usual), 0.1)
    judged = scale.judge(model.score(given.noise))
    np.testing.assert_allclose([float(row["anomaly"]) for row in rows], judged["anomaly"], rtol=1e-4)


def test_a_calibration_brings_its_density(score, calibrated: Path, given, tmp_path: Path) -> None:
    score("--calibrate", given.usual, "-o", tmp_path / "pca.json", "--density", "pca")
    score(given.held_out, "--calibration", tmp_path / "pca.json", "-o", tmp_path / "a.csv")
    score(given.held_out, "--density", "pca", "-o", tmp_path / "b.csv")
    densities = [[row["log_density"] for row in csv.DictReader((tmp_path / f"{k}.csv").open())] for k in "ab"]
    assert densities[0] == densities[1]
    outcome = score(given.noise, "--calibration", calibrated, "--density", "pca", "-o", tmp_path / "no.csv", code=2)
    assert "for the density 'gaussian', not 'pca'" in outcome.err


@pytest.mark.trains
def test_another_bundle_is_refused(calibrated: Path, call, given, tmp_path: Path) -> None:
    from tests.helpers.networks import linear

    images = np.load(given.usual)[:50]
    other = aepipe.export_modules(*linear(), images, tmp_path / "other", densities=("gaussian",), show=False)
    words = ["infer", "score", other, given.noise, "--calibration", calibrated, "-o", tmp_path / "no.csv"]
    outcome = call(*words, "--provider", "cpu")
    assert outcome.code == 2 and "belongs to another bundle than other" in outcome.err
    assert not (tmp_path / "no.csv").exists()


DAMAGE = {
    "empty": lambda text: "",
    "half": lambda text: text[: len(text) // 2],
    "list": lambda text: "[1, 2]",
    "deep": lambda text: "[" * 100_000,
    "nan": lambda text: text.replace('"threshold": ', '"threshold": NaN, "was": '),
    "text": lambda text: text.replace('"count": 180', '"count": "many"'),
    "none": lambda text: text.replace('"pair": "', '"pear": "'),
    "short": lambda text: json.dumps(json.loads(text) | {"quantiles": {"error": [1.0], "log_density": [2.0]}}),
    "order": lambda text: json.dumps(json.loads(text) | {"quantiles": {"error": [*range(1000, -1, -1)]}}),
    "density": lambda text: json.dumps(json.loads(text) | {"density": None}),
    "columns": lambda text: text.replace('"error": [', '"error": [], "errors": ['),
    "more": lambda text: text.replace('"quantiles": {', '"quantiles": {"height": [], '),
    "format": lambda text: text.replace('"format": 1', '"format": 2'),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_calibration_is_refused(kind: str, score, calibrated: Path, given, tmp_path: Path) -> None:
    (tmp_path / "damaged.json").write_text(DAMAGE[kind](calibrated.read_text(encoding="utf-8")))
    outcome = score(given.noise, "--calibration", tmp_path / "damaged.json", "-o", tmp_path / "no.csv", code=2)
    assert "damaged.json" in outcome.err and ("format 2" if kind == "format" else "is broken") in outcome.err
    assert not (tmp_path / "no.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["-o", "o.csv"], "INPUT is missing"),
        (["digits", "--calibrate", "digits", "-o", "o.json"], "an INPUT beside --calibrate"),
        (["--calibrate", "digits", "--calibration", "x.json", "-o", "o.json"], "--calibration beside --calibrate"),
        (["--calibrate", "digits", "-o", "o.csv"], "ends with .json"),
        (["--calibrate", "digits", "-o", "-"], "ends with .json"),
        (["--calibrate", "digits", "-o", "o.json", "--shard", "1/2"], "not in shards"),
        (["--calibrate", "digits", "-o", "o.json", "--false-alarm", "1"], "between 0 and 1"),
        (["--calibrate", "digits", "-o", "o.json", "--false-alarm", "nan"], "between 0 and 1"),
        (["--calibrate", "digits[:10]", "-o", "o.json"], "it needs 19 or more"),
        (["digits", "--false-alarm", "0.1", "-o", "o.csv"], "--calibrate SPEC"),
        (["digits", "--calibration", "missing.json", "-o", "o.csv"], "missing.json cannot be read"),
        (["digits", "-o", "o.json"], "does not write .json"),
    ],
)
def test_what_is_refused(arguments: list[str], says: str, score, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = score(*arguments, code=2)
    assert says in outcome.err and not list(tmp_path.iterdir())


def test_densities_that_are_no_numbers_cannot_calibrate(model) -> None:
    scores = normal(100, 0)
    scores["log_density"][3] = -np.inf
    with pytest.raises(BadInput, match="log_density of a normal image"):
        anomaly.calibration(model, "gaussian", scores, 0.05, "made up")
