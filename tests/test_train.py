"""Training from the command line and from Python: options, hooks, data, and what is refused."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import aepipe
import numpy as np
import pytest
import torch
from aepipe import cli as commands
from aepipe import hookimpl, plugins
from aepipe.errors import AepipeError, BadInput
from aepipe.images.data import open_images
from aepipe.images.pixels import as_float
from aepipe.workshop.run import Run
from aepipe.workshop.training import training_data
from aepipe.workshop.training.device import has_fast_bf16
from aepipe.workshop.training.model import load_tensors
from aepipe.workshop.training.recipe import learning_rate
from torch import nn

SMALL = {"encoder": "mlp:hidden=16", "decoder": "mlp:hidden=16", "latent_dim": 2, "epochs": 2, "batch_size": 20}
SMALL |= {"precision": "fp32", "show": False}
OPTIONS = ["--encoder", "mlp:hidden=16", "--decoder", "mlp:hidden=16", "--latent-dim", "2", "--batch-size", "20"]


def images(count: int = 80, channels: int = 1) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (255 * rng.random((count, channels, 4, 4)).repeat(2, axis=2).repeat(2, axis=3)).astype(np.uint8)


@pytest.fixture
def data(tmp_path) -> str:
    np.save(tmp_path / "images.npy", images())
    return str(tmp_path / "images.npy")


def refused(capsys, *arguments: object, code: int = 2) -> str:
    """The one sentence and the hint of a command that ends with `code`."""
    assert commands.run([str(argument) for argument in arguments]) == code
    said = capsys.readouterr().err.strip()
    assert "Traceback" not in said
    return said


@pytest.fixture
def register():
    """Register plugin objects for one test."""
    added = []

    def add(plugin_object: object, name: str):
        added.append(plugins.registry().register(plugin_object, name))
        return added[-1]

    yield add
    for plugin in added:
        plugins.registry().unregister(plugin)


# What a run holds


def test_what_a_run_holds(tmp_path, data: str):
    run = aepipe.fit(data, out=tmp_path / "run", **{**SMALL, "latent_dim": 3}, densities="few=pca:components=2")
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
    run = aepipe.fit(images(), out=tmp_path / "run", **SMALL)
    rows = np.sort(np.random.default_rng(0).permutation(80)[8:])
    part = images()[rows] / 255
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
    np.save(tmp_path / "images.npy", images(2000).astype(np.float32) / 255)
    assert aepipe.fit(str(tmp_path / "images.npy"), out=tmp_path / "run", **SMALL).finished


def test_the_same_seed_gives_the_same_weights(tmp_path):
    first, same = (aepipe.fit(images(), out=tmp_path / name, **SMALL) for name in ("a", "b"))
    other = aepipe.fit(images(), out=tmp_path / "c", seed=1, **SMALL)
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
    array = images(channels=3) if kind is np.uint8 else images(channels=3).astype(np.float32) / 255
    runs = []
    for fits in (True, False):
        monkeypatch.setattr(training_data, "_fits", lambda *_, fits=fits: fits)
        runs.append(aepipe.fit(array, out=tmp_path / f"{fits}", corrupt=corrupt, **SMALL))
    assert_same_weights(*runs)
    assert dict(runs[0].config["metrics"].items()) == runs[1].config["metrics"]


def test_what_fits_in_memory():
    few, many = (np.broadcast_to(np.uint8(0), (count, 100, 100)) for count in (10, 10**8))  # the second: a terabyte
    fits = [training_data._fits(open_images(array), array.dtype, torch.device("cpu")) for array in (few, many)]
    assert fits == [True, False]


def test_the_schedule():
    rates = [learning_rate(0.1, "cosine", step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.01) and max(rates) == pytest.approx(0.1) and rates.index(max(rates)) in (9, 10)
    assert rates[:10] == sorted(rates[:10]) and rates[10:] == sorted(rates[10:], reverse=True) and rates[-1] < 1e-4
    assert learning_rate(0.1, "constant", 99, 100) == 0.1


def test_the_best_epoch_is_kept(tmp_path):
    run = aepipe.fit(images(), out=tmp_path / "run", **{**SMALL, "epochs": 12, "lr": 0.1})
    errors = [row["validation_mse"] for row in run.history]
    best = int(np.argmin(errors)) + 1
    assert run.config["metrics"]["best_epoch"] == best < 12
    assert load_tensors(run.directory / "best.safetensors")[1] == {"epoch": best}
    assert run.config["metrics"]["mse"] == pytest.approx(errors[best - 1], rel=1e-5)


def test_a_variational_run(tmp_path):
    run = aepipe.fit(images(), out=tmp_path / "run", objective="vae:beta=0.1", **SMALL)
    assert {"loss", "reconstruction", "kl"} <= run.history[0].keys()
    assert run.codes()[0].shape == (72, 2)


def test_pca_with_a_decoder_that_trains(tmp_path):
    run = aepipe.fit(images(), out=tmp_path / "run", **{**SMALL, "encoder": "pca", "decoder": "deconv:channels=4"})
    before, after = (row["validation_mse"] for row in run.history)
    assert after < before
    axes = load_tensors(run.directory / "last.safetensors")[0]["model.encoder.axes"]
    torch.testing.assert_close(axes.T @ axes, torch.eye(2), atol=1e-5, rtol=0)


# Precision and layout


def test_auto_is_what_is_fast_here(tmp_path):
    run = aepipe.fit(images(), out=tmp_path / "run", **{**SMALL, "precision": "auto"})
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
    array = images(channels=3)
    run = aepipe.fit(array, out=tmp_path / "run", **{**SMALL, "encoder": "views", "precision": precision})
    assert run.history[1]["loss"] < run.history[0]["loss"]


def test_bf16_learns_what_fp32_learns(tmp_path):
    errors = []
    for precision in ("fp32", "bf16"):
        options = {**SMALL, "epochs": 6, "precision": precision}
        errors.append(aepipe.fit(images(), out=tmp_path / precision, **options).config["metrics"]["mse"])
    assert errors[1] == pytest.approx(errors[0], rel=0.05)


# Hooks


def test_a_callback_sees_every_epoch_and_may_stop(tmp_path, register):
    class Stops:
        seen: ClassVar[list] = []

        @hookimpl
        def epoch_finished(self, run):
            self.seen.append((run.epoch, run.metrics["validation_mse"], run.directory, len(run.history)))
            run.stop = run.epoch == 3

    register(Stops(), "stops")
    run = aepipe.fit(images(), out=tmp_path / "run", **{**SMALL, "epochs": 9})
    assert [row[0] for row in Stops.seen] == [1, 2, 3] == [row[3] for row in Stops.seen]
    assert [row[1] for row in Stops.seen] == [row["validation_mse"] for row in run.history]
    assert {row[2] for row in Stops.seen} == {tmp_path / "run"}
    assert run.finished and run.config["metrics"]["epochs"] == 3


def test_a_callback_that_raises_is_a_warning(tmp_path, register, capsys):
    class Raises:
        @hookimpl
        def epoch_finished(self, run):
            raise RuntimeError("no disk")

    plugin = register(Raises(), "raises")
    run = aepipe.fit(images(), out=tmp_path / "run", **SMALL)
    assert run.finished and len(run.history) == 2
    assert "warning: plugin raises" in capsys.readouterr().err
    assert plugin.errors == ["epoch_finished raised: RuntimeError: no disk"] * 2


def test_a_callback_is_called_once_where_nothing_trains(tmp_path, register):
    class Counts:
        epochs: ClassVar[list] = []

        @hookimpl
        def epoch_finished(self, run):
            self.epochs.append(run.epoch)

    register(Counts(), "counts")
    assert aepipe.fit(images(), out=tmp_path / "run", **{**SMALL, "encoder": "pca", "decoder": "pca"}).finished
    assert Counts.epochs == [1]


class Wrong:
    """Components that are not what they must be."""

    @hookimpl
    def register_encoders(self, register):
        register(lambda shape, features: nn.Flatten(), name="too-wide")
        register(lambda shape, features: nn.Linear(5, features), name="misfit")

    @hookimpl
    def register_decoders(self, register):
        register(lambda latent, shape: nn.Sequential(nn.Linear(latent, 64), nn.Unflatten(1, (1, 8, 8))), name="grey")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"encoder": "too-wide"}, r"encoder 'too-wide' made \[2, 192\] of \[2, 3, 8, 8\], \[2, 2\] is needed"),
        ({"encoder": "misfit"}, r"encoder 'misfit' failed on \[2, 3, 8, 8\]: RuntimeError"),
        ({"decoder": "grey"}, r"decoder 'grey' made \[2, 1, 8, 8\] of \[2, 2\], \[2, 3, 8, 8\] is needed"),
    ],
)
def test_components_of_the_wrong_shape_are_named(tmp_path, register, changed: dict, said: str):
    register(Wrong(), "wrong")
    with pytest.raises(AepipeError, match=said) as caught:
        aepipe.fit(images(channels=3), out=tmp_path / "run", **{**SMALL, **changed})
    assert "wrong" in caught.value.hint and not (tmp_path / "run").exists()


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


# --config


def config(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    return path


RECIPE = """
encoder = "mlp:hidden=16"
decoder = "mlp:hidden=16"
latent_dim = 2
batch-size = 20
epochs = 3
lr = 0.002
density = ["gaussian", "few=pca:components=1"]
precision = "fp32"
overwrite = true
"""


def test_a_file_gives_defaults_and_the_command_line_wins(tmp_path, data: str):
    path, out = config(tmp_path, RECIPE), tmp_path / "run"
    for _ in range(2):  # the second replaces the first: overwrite = true
        assert commands.run(["train", "--config", str(path), "--data", data, "--epochs", "1", "-o", str(out)]) == 0
    settings = Run(out).config
    assert settings["recipe"]["epochs"] == 1 and settings["recipe"]["lr"] == 0.002
    assert settings["recipe"]["batch_size"] == 20 and settings["latent"] == 2
    assert settings["components"]["encoder"]["options"] == {"hidden": [16]}
    assert settings["densities"] == ["gaussian", "few"]
    assert settings["recipe"]["schedule"] == "constant"  # resolved: what nobody gave is there too


def test_one_density_and_image_options_in_a_file(tmp_path):
    from PIL import Image

    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(6):
        noise = np.random.default_rng(number).integers(0, 256, (30, 20, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{number}.png")
    text = f'data = "{folder}"\nimage-size = "8x10"\nchannels = 1\nlatent-dim = 2\nepochs = 1\ndensity = "pca"\nencoder = "mlp"'
    assert commands.run(["train", "--config", str(config(tmp_path, text)), "-o", str(tmp_path / "run")]) == 0
    run = Run(tmp_path / "run")
    assert run.shape == (1, 8, 10) and run.config["densities"] == ["pca"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epoch = 3", "did you mean 'epochs'"),
        ("epochs = [3]", "epochs"),
        ("epochs = true", "epochs"),
        ("epochs = 2.5", "epochs"),
        ('epochs = "many"', "not a valid int"),
        ("lr = nan", "learning rate"),
        ('overwrite = "yes"', "true or false"),
        ('schedule = "linear"', "schedule"),
        ("density = [1, true]", "density"),
        ("density = {a = 1}", "density"),
        ('encoder = "cnov"', "did you mean 'conv'"),
        ("epochs = ", "TOML"),
        ("\udcff", "TOML"),
    ],
)
def test_files_that_are_refused(tmp_path, data: str, capsys, text: str, said: str):
    path = tmp_path / "recipe.toml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert said in refused(capsys, "train", "--config", path, "--data", data, "-o", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_file_that_is_missing(tmp_path, capsys):
    assert "cannot be read as TOML" in refused(capsys, "train", "--config", tmp_path / "none.toml")


# What is refused before anything is written


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--lr", "nan"], "learning rate must be a positive number, not nan"),
        (["--lr", "-1"], "learning rate"),
        (["--lr", "inf"], "learning rate"),
        (["--epochs", "0"], "epochs must be at least 1"),
        (["--batch-size", "-3"], "batch_size must be at least 1"),
        (["--latent-dim", "0"], "latent size must be at least 1"),
        (["--seed", "-1"], "seed must be at least 0"),
        (["--patience", "-1"], "patience"),
        (["--limit", "-5"], "--limit"),
        (["--limit", "1"], "1 usable images"),
        (["--encoder", "cnov"], "did you mean 'conv'"),
        (["--decoder", "deconv:chanels=3"], "did you mean 'channels'"),
        (["--encoder", "conv:channels=many"], "whole number"),
        (["--objective", "vae:beta=-1"], "beta"),
        (["--encoder", "pca", "--objective", "vae"], "closed form"),
        (["--encoder", "pca", "--latent-dim", "100"], "100 components"),
        (["--corrupt", "gausian"], "did you mean 'gaussian'"),
        (["--corrupt", "erase:p=2"], "p must lie between 0 and 1"),
        (["--density", "pca:components=9"], "components=9 must lie between 0 and the latent size 8"),
        (["--density", "pca", "--density", "pca:components=2"], "2 densities are called 'pca'"),
        (["--density", "pka"], "did you mean 'pca'"),
        (["--precision", "fp64"], "precision"),
        (["--schedule", "linear"], "schedule"),
        (["--data", "mnits"], "mnist"),
        (["--data", "./nowhere.npy"], "nowhere.npy"),
        (["--split", "valid"], "split"),
    ],
)
def test_options_that_are_refused(tmp_path, data: str, capsys, options: list[str], said: str):
    given = options if "--data" in options else ["--data", data, *options]
    assert said in refused(capsys, "train", *given, "-o", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def bad_arrays():
    whole = images(6).astype(np.float32) / 255
    spoiled = whole.copy()
    spoiled[3, 0, 2, 2] = np.nan
    yield "nan", spoiled
    yield "out of range", whole * 300
    yield "negative", whole - 0.5
    yield "text", np.array(["a", "b"])
    yield "objects", np.array([{}, {}], dtype=object)
    yield "complex", whole.astype(complex)
    yield "flat", whole.reshape(-1)
    yield "empty", whole[:0]
    yield "constant", np.full((9, 1, 8, 8), 0.5, np.float32)
    yield "one", whole[:1]


@pytest.mark.parametrize(("name", "array"), list(bad_arrays()), ids=[name for name, _ in bad_arrays()])
def test_arrays_that_are_refused(tmp_path, capsys, name: str, array: np.ndarray):
    with pytest.raises(BadInput) as caught:
        aepipe.fit(array, out=tmp_path / "run", **SMALL)
    assert caught.value.hint and not (tmp_path / "run").exists()
    np.save(tmp_path / "bad.npy", array, allow_pickle=True)
    refused(capsys, "train", "--data", tmp_path / "bad.npy", *OPTIONS, "-o", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_misspelt_arguments_of_fit():
    with pytest.raises(BadInput, match="no option 'epoch'") as caught:
        aepipe.fit(images(), epoch=3)
    assert "did you mean 'epochs'" in caught.value.hint


def test_an_existing_run_stays_untouched(tmp_path, data: str, capsys):
    run = aepipe.fit(data, out=tmp_path / "run", **SMALL)
    before = {path: path.read_bytes() for path in run.directory.rglob("*") if path.is_file()}
    said = refused(capsys, "train", "--data", data, *OPTIONS, "-o", run.directory)
    assert f"--resume {run.directory}" in said and "--overwrite" in said
    # Nor do other mistakes cost the old run, even with --overwrite.
    refused(capsys, "train", "--data", data, *OPTIONS, "-o", run.directory, "--overwrite", "--encoder", "cnov")
    refused(capsys, "train", "--data", data, *OPTIONS, "-o", run.directory, "--overwrite", "--limit", "1")
    assert {path: path.read_bytes() for path in run.directory.rglob("*") if path.is_file()} == before
    (run.directory / "density" / "stray").mkdir()
    again = aepipe.fit(data, out=run.directory, overwrite=True, **{**SMALL, "epochs": 1})
    assert len(again.history) == 1 and (run.directory / "density" / "stray").is_dir()


def test_folders_that_are_no_runs_stay(tmp_path, data: str, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    for extra in ([], ["--overwrite"]):
        assert "is not a run" in refused(capsys, "train", "--data", data, "-o", tmp_path / "mine", *extra)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


def test_places_that_cannot_be_written(tmp_path, data: str, capsys):
    (tmp_path / "file").write_text("")
    assert "file" in refused(capsys, "train", "--data", data, "-o", tmp_path / "file" / "run")
    assert "is not a run" in refused(capsys, "train", "--data", data, "-o", tmp_path / "file")
    assert "/proc/none" in refused(capsys, "train", "--data", data, "-o", "/proc/none/run")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_named_is_a_promise(tmp_path, data: str, capsys):
    said = refused(capsys, "train", "--data", data, "--device", "cuda", "-o", tmp_path / "run")
    assert "torch finds no CUDA device" in said and "--device cpu" in said


def test_nothing_to_train_on(capsys):
    assert "give --data" in refused(capsys, "train")


DISK_FULL = """
import resource, sys
import numpy as np
from aepipe.cli import run
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
sys.exit(run(sys.argv[2:]))
"""


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path, data: str):
    out = tmp_path / "run"
    aepipe.fit(data, out=out, **SMALL)
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
