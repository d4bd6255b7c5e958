"""Folders of runs: names that do not collide, and one training at a time in each."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import aepipe
import pytest
from aepipe.errors import BadInput
from aepipe.files.locks import locked

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
    said = together(tmp_path, 2)
    assert sorted(said) == ["runs/array-mlp-d2", "runs/array-mlp-d2-2"]
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
    holder = "import sys, aepipe; run = aepipe.Run(sys.argv[1])\nwith run.alone():"
    holder += "\n    print('held', flush=True); sys.stdin.read()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", holder, run], **pipes)
    assert process.stdout and process.stdout.readline() == "held\n"
    with pytest.raises(BadInput, match=r"the run .* is being written by process"):
        aepipe.fit(blobs(), out=run, overwrite=True, **STEADY)
    with pytest.raises(BadInput, match=r"the run .* is being written by process"):
        aepipe.resume(run, blobs(), epochs=5, show=False)
    assert contents(run).keys() - before.keys() == {".aepipe-run.lock"}
    process.kill()  # a lock ends with its process
    process.wait()
    assert len(aepipe.resume(run, blobs(), epochs=3, show=False).history) == 3
    assert "was killed; its lock is taken over" in capsys.readouterr().err
    assert not (run / ".aepipe-run.lock").exists()


def test_the_lock_leaves_nothing(tmp_path):
    lock = tmp_path / "lock"
    with (
        locked(lock, "it"),
        pytest.raises(BadInput, match=f"it is being written by process {os.getpid()}"),
        locked(lock, "it"),
    ):
        raise AssertionError
    with locked(lock, "it"):
        assert list(tmp_path.iterdir()) == [lock]
    assert not list(tmp_path.iterdir())


FIT = """
import sys, aepipe
print(aepipe.Run(sys.argv[1]).fit_density(f"d{sys.argv[2]}=pca:components=1"))
"""


@pytest.mark.trains
def test_densities_that_are_fitted_at_one_moment_all_stay(tmp_path):
    run = aepipe.fit(blobs(), out=tmp_path / "run", **STEADY).directory
    started = [
        subprocess.Popen([sys.executable, "-c", FIT, run, str(k)], stdout=subprocess.PIPE, text=True) for k in range(3)
    ]
    assert sorted(each.communicate(timeout=120)[0].strip() for each in started) == ["d0", "d1", "d2"]
    found = aepipe.Run(run)
    assert {"d0", "d1", "d2"} <= set(found.config["densities"]) and {"d0", "d1", "d2"} <= found.densities().keys()
    assert not (run / ".aepipe-run.lock").exists()


TAKE = """
import sys, time
from pathlib import Path
from aepipe import BadInput
from aepipe.files.locks import locked
place = Path(sys.argv[1])
try:
    with locked(place / "lock", "it"):
        (place / "inside").open("x").close()  # fails where two are inside
        time.sleep(0.3)
        (place / "inside").unlink()
        print("held")
except BadInput:
    print("refused")
"""


def test_of_many_that_find_a_lock_that_was_left_one_takes_it(tmp_path):
    (tmp_path / "lock").write_text(json.dumps({"pid": 2**22 + 1, "host": platform.node()}))
    started = [
        subprocess.Popen([sys.executable, "-c", TAKE, tmp_path], stdout=subprocess.PIPE, text=True) for _ in range(5)
    ]
    said = [each.communicate(timeout=60)[0].strip() for each in started]
    assert "held" in said and set(said) <= {"held", "refused"}
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
