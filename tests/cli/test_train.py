"""`aepipe train`: options, --config, and what is refused before anything is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from aepipe import cli as commands
from aepipe.images.data import open_images
from aepipe.workshop.run import Run

from tests.helpers.commands import fails, refused

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


@pytest.mark.trains
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


@pytest.mark.trains
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
    assert said in fails(capsys, "train", "--config", path, "--data", data, "-o", tmp_path / "run")
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
    assert said in fails(capsys, "train", *given, "-o", tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_named_is_a_promise(tmp_path, data: str, capsys):
    said = refused(capsys, "train", "--data", data, "--device", "cuda", "-o", tmp_path / "run")
    assert "torch finds no CUDA device" in said and "--device cpu" in said


def test_nothing_to_train_on(capsys):
    assert "give --data" in refused(capsys, "train")


@pytest.mark.trains
def test_a_model_that_is_hardly_better_than_the_mean_says_so(call, tmp_path) -> None:
    options = ("--data", "digits:size=8", "--limit", 300, "--latent-dim", 6)
    trained = call("train", *options, "--epochs", 1, "-o", tmp_path / "fog")
    assert trained.code == 0 and "hardly better than the mean of all samples, whose MSE is 0.0" in trained.err
    assert "--epochs 50" in trained.err
    fitted = call("train", *options, "--encoder", "pca", "--decoder", "pca", "-o", tmp_path / "pca")
    assert fitted.code == 0 and "the mean of all samples" not in fitted.err
    test = open_images("digits:size=8").read(np.arange(359)) / np.float32(255)
    metrics = Run(tmp_path / "pca").metrics
    assert (
        metrics["mse_of_mean"] == pytest.approx(test.var(0).mean(), rel=1e-4)
        and metrics["mse"] < metrics["mse_of_mean"] / 2
    )
