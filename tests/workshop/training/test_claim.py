"""Folders of runs: names that do not collide, and one training at a time in each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import aepipe
import pytest
from aepipe.errors import BadInput
from aepipe.workshop.training.claim import only_here

from tests.helpers.commands import refused
from tests.helpers.folders import contents
from tests.helpers.images import blobs
from tests.helpers.settings import OPTIONS, STEADY

TRAIN = """
import sys, aepipe
from tests.helpers.images import blobs
from tests.helpers.settings import STEADY
out = sys.argv[1] if len(sys.argv) > 1 else None
try:
    print(aepipe.fit(blobs(), out=out, **{**STEADY, "epochs": 30}).directory)
except aepipe.AepipeError as error:
    print("refused", error.message)
"""


def together(folder: Path, count: int, *arguments: str) -> list[str]:
    """What several trainings print that begin at the same moment."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-c", TRAIN, *arguments]
    started = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder, env=environment) for _ in range(count)
    ]
    return [each.communicate(timeout=300)[0].strip() for each in started]


def test_a_second_training_takes_the_next_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    first, second, third = (aepipe.fit(blobs(), **STEADY).directory for _ in range(3))
    assert (first, second, third) == tuple(Path("runs") / f"array-mlp-d2{end}" for end in ("", "-2", "-3"))
    assert f"{first} exists: this run is {second}" in capsys.readouterr().err
    before = contents(tmp_path)
    Path("runs/array-mlp-d3").mkdir()
    (Path("runs/array-mlp-d3") / "notes").write_text("mine")
    assert aepipe.fit(blobs(), **{**STEADY, "latent_dim": 3}).directory == Path("runs/array-mlp-d3-2")
    with pytest.raises(BadInput, match="exists"):
        aepipe.fit(blobs(), out=first, **STEADY)
    assert contents(tmp_path).items() >= before.items()


def test_what_fails_before_it_starts_takes_no_name(tmp_path, monkeypatch, data: str, capsys):
    monkeypatch.chdir(tmp_path)
    refused(capsys, "train", "--data", data, *OPTIONS, "--limit", "1")
    assert not Path("runs").exists()


@pytest.mark.trains
def test_trainings_of_one_moment_share_no_folder(tmp_path):
    said = together(tmp_path, 3)
    assert sorted(said) == ["runs/array-mlp-d2", "runs/array-mlp-d2-2", "runs/array-mlp-d2-3"]
    for name in said:
        assert aepipe.Run(tmp_path / name).finished


@pytest.mark.trains
def test_of_two_trainings_in_one_folder_one_is_refused(tmp_path):
    one, other = sorted(together(tmp_path, 2, "run"))
    assert other == "run" or one == "run"
    assert any(each.startswith("refused") for each in (one, other))
    run = aepipe.Run(tmp_path / "run")
    assert run.finished and len(run.history) == 30


def test_a_folder_in_which_a_training_runs_is_left_alone(tmp_path, capsys, data: str):
    run = aepipe.fit(blobs(), out=tmp_path / "run", **STEADY).directory
    before = contents(run)
    holder = "import sys, aepipe.workshop.training.claim as c; from pathlib import Path\nwith c.only_here(Path(sys.argv[1])):"
    holder += "\n    print('held', flush=True); sys.stdin.read()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", holder, run], **pipes)
    assert process.stdout and process.stdout.readline() == "held\n"
    with pytest.raises(BadInput, match="another process is training in"):
        aepipe.fit(blobs(), out=run, overwrite=True, **STEADY)
    with pytest.raises(BadInput, match="another process is training in"):
        aepipe.resume(run, blobs(), epochs=5, show=False)
    assert contents(run) == before
    process.kill()  # a lock ends with its process
    process.wait()
    assert len(aepipe.resume(run, blobs(), epochs=3, show=False).history) == 3


def test_the_lock_leaves_nothing(tmp_path):
    with only_here(tmp_path), pytest.raises(BadInput), only_here(tmp_path):
        raise AssertionError
    with only_here(tmp_path):
        assert not list(tmp_path.iterdir())


def test_the_interrupted_run_is_named(tmp_path, monkeypatch, data: str, capsys, register):
    class Stops:
        @aepipe.hookimpl
        def epoch_finished(self, run):
            raise KeyboardInterrupt

    register(Stops(), "stops")
    monkeypatch.chdir(tmp_path)
    Path("runs/images-mlp-d2").mkdir(parents=True)
    said = refused(capsys, "train", "--data", data, *OPTIONS, code=130)
    assert "aepipe train --resume runs/images-mlp-d2-2" in said
    assert json.loads(Path("runs/images-mlp-d2-2/run.json").read_text(encoding="utf-8"))["finished"] is False
