"""Runs that are killed, stopped, continued, extended: they end where the undisturbed run ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import aepipe
import numpy as np
import pytest
from aepipe import cli as commands
from aepipe.errors import BadInput
from aepipe.workshop.fit import resume
from aepipe.workshop.run import Run

from tests.helpers.commands import program, refused_alone
from tests.helpers.images import blobs
from tests.helpers.places import ROOT
from tests.helpers.runs import assert_same, history
from tests.helpers.settings import STEADY

pytestmark = pytest.mark.trains

JOBS = ("plain:half", "plain:after", "plain:random", "bf16:random", "corrupt:random", "vae-cosine:random")
JOBS += ("patience:random", "pca-deconv:random", "batch-norm:random")


def small(out: Path, data: object = None, **options) -> Run:
    return aepipe.fit(blobs() if data is None else data, out=out, **{**STEADY, **options})


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> tuple[Path, dict[str, int]]:
    """What killing.py leaves, and how often it killed."""
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    folder = tmp_path_factory.mktemp("killed")
    command = [sys.executable, *program("killing"), str(folder), *JOBS]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
    return folder, json.loads(done.stdout)


@pytest.mark.parametrize("job", JOBS)
def test_a_killed_run_ends_where_the_undisturbed_one_ends(killed, job: str):
    folder, kills = killed
    scenario, _, kind = job.partition(":")
    runs = list((folder / scenario).glob(f"{kind.replace('random', 'killed')}*"))
    assert kills[job] >= (11 if kind != "random" else 1)
    assert len(runs) >= (11 if kind != "random" else 1)
    for run in runs:
        assert_same(run, folder / scenario / "reference")


def test_patience_stopped_the_run_early(killed):
    rows = history(killed[0] / "patience" / "reference")
    errors = [row["validation_mse"] for row in rows]
    assert 3 <= len(rows) < 50 and min(errors) == errors[-3]


# Finished runs


def test_a_finished_run_stays_as_it_is(tmp_path, capsys):
    run = small(tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in run.directory.rglob("*")}
    assert commands.run(["train", "--resume", str(run.directory)]) == 0
    assert "is finished; --epochs N trains it further" in capsys.readouterr().err
    assert resume(run.directory, epochs=1).finished  # fewer than it has
    assert {path: path.stat().st_mtime_ns for path in run.directory.rglob("*")} == before


def test_an_early_stop_is_an_end(tmp_path):
    run = small(tmp_path / "run", epochs=60, patience=1, lr=0.2)
    stopped = run.config["metrics"]["epochs"]
    assert stopped < 60
    assert len(resume(run.directory, blobs(), show=False).history) == stopped
    assert len(resume(run.directory, blobs(), epochs=stopped + 1, show=False).history) == stopped + 1


def test_a_longer_run_is_the_short_one_extended(tmp_path):
    long, short = small(tmp_path / "long", epochs=4), small(tmp_path / "short", epochs=2)
    Run(short.directory).fit_density("few=pca:components=1")
    small_again = resume(short.directory, blobs(), epochs=4, show=False)
    assert small_again.config["densities"] == ["gaussian", "pca", "few"]
    (short.directory / "density" / "few.safetensors").unlink()
    small_again.update(densities=["gaussian", "pca"])
    assert_same(short.directory, long.directory)


def test_a_cosine_cannot_be_extended(tmp_path, capsys):
    run = small(tmp_path / "run", schedule="cosine")
    assert commands.run(["train", "--resume", str(run.directory), "--epochs", "5"]) == 2
    assert "cosine schedule ends with its last epoch, 2" in capsys.readouterr().err
    assert Run(run.directory).finished
    assert commands.run(["train", "--resume", str(run.directory)]) == 0
    assert "is finished\n" in capsys.readouterr().err


# What has changed or is damaged


@pytest.fixture
def unfinished(tmp_path) -> Path:
    """A run of a file, as a kill after its last epoch leaves it."""
    np.save(tmp_path / "images.npy", blobs())
    run = small(tmp_path / "run", str(tmp_path / "images.npy"))
    run.update(finished=False)
    return run.directory


def test_data_that_changed_is_refused(unfinished: Path, capsys):
    changed = blobs()
    changed[37, 0, 3, 3] ^= 1
    np.save(unfinished.parent / "images.npy", changed)
    assert "has changed since the run" in refused_alone(capsys, "train", "--resume", unfinished)
    np.save(unfinished.parent / "images.npy", blobs())
    assert commands.run(["train", "--resume", str(unfinished)]) == 0
    assert Run(unfinished).finished


def test_data_that_is_gone_is_named(unfinished: Path, capsys):
    (unfinished.parent / "images.npy").unlink()
    assert "images.npy" in refused_alone(capsys, "train", "--resume", unfinished)


def test_an_array_must_be_given_again(tmp_path, capsys):
    run = small(tmp_path / "run")
    run.update(finished=False)
    assert "aepipe.resume" in refused_alone(capsys, "train", "--resume", run.directory)
    with pytest.raises(BadInput, match="changed"):
        resume(run.directory, blobs(seed=1), show=False)
    assert resume(run.directory, blobs(), show=False).finished


@pytest.mark.parametrize("damage", ["cut", "empty", "header", "foreign"])
def test_a_damaged_checkpoint_is_named(unfinished: Path, capsys, damage: str):
    path = unfinished / "last.safetensors"
    content = path.read_bytes()
    if damage == "foreign":
        shutil.copy(unfinished / "best.safetensors", path)
    else:
        path.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "header": b"\xff" * 16 + content}[damage])
    said = refused_alone(capsys, "train", "--resume", unfinished)
    assert "last.safetensors" in said or str(unfinished) in said


@pytest.mark.parametrize("content", ["", "[]", '{"format": 1}', '{"format": 99}', "{"])
def test_a_damaged_run_json_is_named(unfinished: Path, capsys, content: str):
    (unfinished / "run.json").write_text(content)
    assert str(unfinished) in refused_alone(capsys, "train", "--resume", unfinished)
    assert str(unfinished) in refused_alone(capsys, "export", unfinished)


def test_options_of_a_resumed_run_are_its_own(unfinished: Path, capsys):
    said = refused_alone(capsys, "train", "--resume", unfinished, "--lr", "0.1", "--latent-dim", "4")
    assert "--lr" in said and "--latent-dim" in said
    assert "--data" in refused_alone(capsys, "train", "--resume", unfinished, "--data", "digits")
    assert "epochs must be at least 1" in refused_alone(capsys, "train", "--resume", unfinished, "--epochs", "0")


def test_what_is_no_run(tmp_path, capsys):
    assert "has no run.json" in refused_alone(capsys, "train", "--resume", tmp_path / "nothing")


# The terminal


def test_ctrl_c_says_how_to_go_on(tmp_path):
    out = tmp_path / "run"
    options = [
        "--data",
        "digits:size=8",
        "--encoder",
        "mlp:hidden=8",
        "--decoder",
        "mlp:hidden=8",
        "--epochs",
        "100000",
    ]
    program = [sys.executable, "-m", "aepipe", "train", *options, "--batch-size", "1000", "-o", str(out)]
    process = subprocess.Popen(program, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (out / "last.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130, said
    assert "Traceback" not in said and "training was interrupted" in said
    command = said.partition(f"aepipe train --resume {out}")
    assert command[1], said
    epoch = Run(out).history[-1]["epoch"]
    assert commands.run(["train", "--resume", str(out), "--epochs", str(epoch + 3)]) == 0
    assert Run(out).history[-1]["epoch"] == epoch + 3 and Run(out).finished
    assert not list(out.rglob(".aepipe-*"))
