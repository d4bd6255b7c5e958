"""Training: what a run holds, seeds, data, precision, and a loss that is no number."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import aepipe
import numpy as np
import pytest
import torch
from aepipe import cli as commands
from aepipe import hookimpl
from aepipe.images.data import open_images
from aepipe.images.pixels import as_float
from aepipe.workshop.run import Run
from aepipe.workshop.training import training_data
from aepipe.workshop.training.device import has_fast_bf16
from aepipe.workshop.training.model import load_tensors
from torch import nn

from tests.helpers.commands import refused
from tests.helpers.images import blobs
from tests.helpers.settings import OPTIONS, STEADY

pytestmark = pytest.mark.trains

# What a run holds


def test_what_a_run_holds(tmp_path, data: str):
    run = aepipe.fit(data, out=tmp_path / "run", **{**STEADY, "latent_dim": 3}, densities="few=pca:components=2")
    files = {"run.json", "metrics.jsonl", "last.safetensors", "best.safetensors", "codes.npz", "heldout.npz", "density"}
    assert {path.name for path in run.directory.iterdir()} - {"curve.png"} == files
    again = Run(run.directory)
    assert (again.shape, again.latent, again.finished) == ((1, 8, 8), 3, True)
    assert again.config["components"]["encoder"] == {
        "name": "mlp",
        "options": {"hidden": [16]},
        "plugin": "aepipe",
        "version": aepipe.__version__,
    }
    assert again.config["recipe"]["precision"] == "fp32" and again.config["recipe"]["seed"] == 0
    facts = again.config["data"]
    assert (facts["count"], facts["train"], facts["validation"]) == (80, 72, 8)
    codes, labels = again.codes()
    assert codes.shape == (72, 3) and codes.dtype == np.float32 and labels is None
    assert again.heldout().shape == (8, 1, 8, 8) and again.heldout().dtype == np.uint8
    assert [row["epoch"] for row in again.history] == [1, 2]
    assert {"loss", "validation_mse", "lr", "images_per_second"} <= again.history[0].keys()
    metrics = again.config["metrics"]
    assert metrics["count"] == 8 and metrics["split"] == "validation"
    assert metrics["psnr"] == pytest.approx(-10 * math.log10(metrics["mse"]))
    ((label, (density, record)),) = again.densities().items()
    assert (label, record["name"], record["options"]) == ("few", "pca", {"components": 2})
    assert torch.isfinite(density.log_prob(torch.from_numpy(codes))).all()


def test_mean_and_deviation_are_those_of_the_training_images(tmp_path):
    run = aepipe.fit(blobs(), out=tmp_path / "run", **STEADY)
    rows = np.sort(np.random.default_rng(0).permutation(80)[8:])
    part = blobs()[rows] / 255
    assert run.config["data"]["mean"] == pytest.approx(part.mean()) and run.config["data"]["std"] == pytest.approx(
        part.std()
    )
    with torch.no_grad():
        expected = run.model().encode(torch.from_numpy(part.astype(np.float32))).numpy()
    np.testing.assert_allclose(run.codes()[0], expected, atol=1e-6)


def test_labels_stay_with_their_codes(digits_run):
    codes, labels = digits_run.codes()
    model, source = digits_run.model(), open_images("digits", split="train", limit=600)
    rows = np.sort(np.random.default_rng(0).permutation(600)[60:])
    assert np.array_equal(labels, source.labels[rows])
    with torch.no_grad():
        again = model.encode(torch.from_numpy(as_float(source.read(rows[:50])))).numpy()
    np.testing.assert_allclose(codes[:50], again, atol=0.05)  # training in bf16 here, codes in float32


@pytest.mark.filterwarnings("error")
def test_a_memory_mapped_file_trains_without_a_warning(tmp_path):
    np.save(tmp_path / "images.npy", blobs(2000).astype(np.float32) / 255)
    assert aepipe.fit(str(tmp_path / "images.npy"), out=tmp_path / "run", **STEADY).finished


def test_the_same_seed_gives_the_same_weights(tmp_path):
    first, same = (aepipe.fit(blobs(), out=tmp_path / name, **STEADY) for name in ("a", "b"))
    other = aepipe.fit(blobs(), out=tmp_path / "c", seed=1, **STEADY)
    assert_same_weights(first, same)
    assert not np.array_equal(first.codes()[0][:50], other.codes()[0][:50])


def assert_same_weights(run: Run, other: Run) -> None:
    for name in ("last", "best"):
        ours, theirs = (load_tensors(each.directory / f"{name}.safetensors")[0] for each in (run, other))
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs) and ours.keys() == theirs.keys()
    assert np.array_equal(run.codes()[0], other.codes()[0])


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
@pytest.mark.parametrize("corrupt", [None, "gaussian"])
def test_data_that_does_not_fit_in_memory_trains_the_same(tmp_path, monkeypatch, kind: type, corrupt: str | None):
    array = blobs(channels=3) if kind is np.uint8 else blobs(channels=3).astype(np.float32) / 255
    runs = []
    for fits in (True, False):
        monkeypatch.setattr(training_data, "_fits", lambda *_, fits=fits: fits)
        runs.append(aepipe.fit(array, out=tmp_path / f"{fits}", corrupt=corrupt, **STEADY))
    assert_same_weights(*runs)
    assert dict(runs[0].config["metrics"].items()) == runs[1].config["metrics"]


def test_what_fits_in_memory():
    few, many = (np.broadcast_to(np.uint8(0), (count, 100, 100)) for count in (10, 10**8))  # the second: a terabyte
    fits = [training_data._fits(open_images(array), array.dtype, torch.device("cpu")) for array in (few, many)]
    assert fits == [True, False]


def test_the_best_epoch_is_kept(tmp_path):
    run = aepipe.fit(blobs(), out=tmp_path / "run", **{**STEADY, "epochs": 12, "lr": 0.1})
    errors = [row["validation_mse"] for row in run.history]
    best = int(np.argmin(errors)) + 1
    assert run.config["metrics"]["best_epoch"] == best < 12
    assert load_tensors(run.directory / "best.safetensors")[1] == {"epoch": best}
    assert run.config["metrics"]["mse"] == pytest.approx(errors[best - 1], rel=1e-5)


def test_a_variational_run(tmp_path):
    run = aepipe.fit(blobs(), out=tmp_path / "run", objective="vae:beta=0.1", **STEADY)
    assert {"loss", "reconstruction", "kl"} <= run.history[0].keys()
    assert run.codes()[0].shape == (72, 2)


def test_pca_with_a_decoder_that_trains(tmp_path):
    run = aepipe.fit(blobs(), out=tmp_path / "run", **{**STEADY, "encoder": "pca", "decoder": "deconv:channels=4"})
    before, after = (row["validation_mse"] for row in run.history)
    assert after < before
    axes = load_tensors(run.directory / "last.safetensors")[0]["model.encoder.axes"]
    torch.testing.assert_close(axes.T @ axes, torch.eye(2), atol=1e-5, rtol=0)


# Precision and layout


def test_auto_is_what_is_fast_here(tmp_path):
    run = aepipe.fit(blobs(), out=tmp_path / "run", **{**STEADY, "precision": "auto"})
    fast = has_fast_bf16(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    assert run.config["recipe"]["precision"] == ("bf16" if fast else "fp32")


class Views:
    """An encoder that runs in one memory layout only, and notes in which it ran."""

    @hookimpl
    def register_encoders(self, register):
        class Net(nn.Module):
            def __init__(self, shape, features):
                super().__init__()
                self.first, self.last = nn.Conv2d(shape[0], 4, 3), nn.Linear(4 * 6 * 6, features)

            def forward(self, value):
                return self.last(self.first(value).view(len(value), -1))

        register(Net, name="views")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_network_that_needs_the_ordinary_layout_trains(tmp_path, register, precision: str):
    register(Views(), "views")
    array = blobs(channels=3)
    run = aepipe.fit(array, out=tmp_path / "run", **{**STEADY, "encoder": "views", "precision": precision})
    assert run.history[1]["loss"] < run.history[0]["loss"]


def test_bf16_learns_what_fp32_learns(tmp_path):
    errors = []
    for precision in ("fp32", "bf16"):
        options = {**STEADY, "epochs": 6, "precision": precision}
        errors.append(aepipe.fit(blobs(), out=tmp_path / precision, **options).config["metrics"]["mse"])
    assert errors[1] == pytest.approx(errors[0], rel=0.05)


# A loss that is no number


def test_a_loss_that_explodes_stops_with_an_explanation(tmp_path, data: str, capsys):
    out = tmp_path / "run"
    said = refused(capsys, "train", "--data", data, *OPTIONS, "--lr", "1e9", "--precision", "fp32", "-o", out, code=1)
    assert "the loss became" in said and "in epoch" in said and "smaller --lr" in said
    assert not Run(out).finished and not Run(out).history


def test_the_last_good_checkpoint_is_kept_and_the_hint_works(tmp_path, data: str, capsys):
    out = tmp_path / "run"
    assert (
        commands.run(["train", "--data", data, *OPTIONS, "--epochs", "2", "--precision", "fp32", "-o", str(out)]) == 0
    )
    good = load_tensors(out / "last.safetensors")[0]
    settings = json.loads((out / "run.json").read_text())
    settings["recipe"] |= {"lr": 1e9, "epochs": 9}
    (out / "run.json").write_text(json.dumps({**settings, "finished": False}))
    capsys.readouterr()
    said = refused(capsys, "train", "--resume", out, code=1)
    assert "in epoch 3" in said or "in epoch 4" in said
    kept, notes = load_tensors(out / "last.safetensors")
    if notes["epoch"] == 2:
        assert all(torch.equal(good[name], kept[name]) for name in good)
    assert all(torch.isfinite(tensor).all() for tensor in kept.values())
    command = said.partition("'aepipe ")[2].partition("'")[0].split()
    assert command[:3] == ["train", "--resume", str(out)]
    assert commands.run(command) == 0
    assert Run(out).finished and Run(out).config["metrics"]["epochs"] == notes["epoch"]


DISK_FULL = """
import resource, sys
import numpy as np
from aepipe.cli import run
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
sys.exit(run(sys.argv[2:]))
"""


@pytest.mark.slow
def test_a_full_disk_keeps_the_last_checkpoint(tmp_path, data: str):
    out = tmp_path / "run"
    aepipe.fit(data, out=out, **STEADY)
    run = Run(out)
    run.update(finished=False, recipe={**run.config["recipe"], "epochs": 3})
    before = {name: (out / name).read_bytes() for name in ("last.safetensors", "best.safetensors", "codes.npz")}
    program = [sys.executable, "-c", DISK_FULL, "5000", "train", "--resume", str(out)]
    done = subprocess.run(program, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert "error: Cannot write" in done.stderr and "hint: free some space" in done.stderr
    assert {name: (out / name).read_bytes() for name in before} == before
    assert commands.run(["train", "--resume", str(out)]) == 0
    assert len(Run(out).history) == 3
