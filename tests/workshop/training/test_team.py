"""Training in several processes: it ends where one process ends, speaks with one voice, and never hangs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import aepipe
import numpy as np
import pytest
import torch
from aepipe.workshop.fit import resume
from aepipe.workshop.run import Run
from aepipe.workshop.training.model import load_tensors
from aepipe.workshop.training.team import Team

from tests.helpers.adversarial import Objectives
from tests.helpers.commands import program
from tests.helpers.images import blobs
from tests.helpers.places import ROOT
from tests.programs.training_together import ALIKE, COUNT, FAILING, NOISY, SMALL, Networks

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
DIGITS = ["--data", "digits:size=8", "--limit", "200", "--latent-dim", "2", "--batch-size", "32", "--device", "cpu"]
DIGITS += ["--encoder", "mlp:hidden=16", "--decoder", "mlp:hidden=16", "--precision", "fp32"]


def torchrun(*arguments: object, **options) -> subprocess.CompletedProcess[str]:
    command = [*TORCHRUN, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=300, **options)


def assert_alike(run: Path, reference: Path) -> None:
    """To rounding: metrics, weights, optimiser, codes."""
    assert len(Run(run).history) == len(Run(reference).history)
    for ours, theirs in zip(Run(run).history, Run(reference).history, strict=True):
        assert ours.keys() == theirs.keys()
        same = [name for name in theirs if name != "images_per_second"]
        assert [ours[name] for name in same] == pytest.approx([theirs[name] for name in same], rel=1e-4)
    ours, theirs = (dict(Run(each).config["metrics"]) for each in (run, reference))
    assert ours.pop("split") == theirs.pop("split") and ours == pytest.approx(theirs, rel=1e-4)
    for name in ("last", "best"):
        ours, theirs = (load_tensors(each / f"{name}.safetensors")[0] for each in (run, reference))
        assert ours.keys() == theirs.keys()
        for key in theirs:
            torch.testing.assert_close(
                ours[key], theirs[key], rtol=1e-3, atol=1e-4, msg=lambda text, key=key: key + text
            )
    np.testing.assert_allclose(Run(run).codes()[0], Run(reference).codes()[0], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("count", [0, 1, 2, 5, 100])
def test_the_shares_are_the_whole(size: int, count: int):
    shares = [range(count)[Team(rank, size).share(count)] for rank in range(size)]
    assert [row for share in shares for row in share] == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1 and len(shares[0]) == max(map(len, shares))


@pytest.fixture(scope="module")
def together(tmp_path_factory) -> tuple[Path, list[dict[str, list[list[str]]]]]:
    """The folder of runs of two processes, and how each job ended in each: a list, for a name may come twice."""
    folder = tmp_path_factory.mktemp("together")
    done = torchrun(*program("training_together"), folder, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    endings: list[dict[str, list[list[str]]]] = []
    for rank in (0, 1):
        of_rank: dict[str, list[list[str]]] = {}
        for name, *how in json.loads((folder / f"{rank}.json").read_text()):
            of_rank.setdefault(name, []).append(how)
        endings.append(of_rank)
    return folder, endings


@pytest.mark.parametrize("job", ALIKE)
def test_two_processes_end_where_one_ends(together, tmp_path, register, job: str):
    folder, endings = together
    register(Networks(), "networks")
    register(Objectives(), "objectives")
    run = aepipe.fit(blobs(COUNT), out=tmp_path / job, show=False, **{**SMALL, **ALIKE[job]})
    assert_alike(folder / job, run.directory)
    assert endings[0][job][0] == endings[1][job][0] == ["finished", str(len(run.history))]


@pytest.mark.parametrize("job", NOISY)
def test_what_is_random_or_looks_at_the_batch_trains_too(together, job: str):
    folder, endings = together
    assert endings[0][job] == endings[1][job] == [["finished", "2"]]
    first, second = Run(folder / job).history
    assert second["loss"] < first["loss"]


SAID = {
    "plain": ("BadInput", "exists\ncontinue it with 'aepipe train --resume", "2"),
    "explodes": ("AepipeError", "the loss became", "1"),
    "second-fails": ("ValueError", "out of luck", "1"),
    "interrupted": ("KeyboardInterrupt", "out of luck", "130"),
    "misspelt": ("BadInput", "did you mean 'conv'", "2"),
}


@pytest.mark.parametrize("job", FAILING)
def test_one_process_says_what_failed_and_all_end(together, job: str):
    error, said, code = SAID[job]
    spoke, silent = sorted((ranks[job][-1] for ranks in together[1]), key=lambda how: how[0] == "SystemExit")
    assert spoke[0] == error and said in spoke[1]
    assert silent == ["SystemExit", code]


@pytest.mark.trains
@pytest.mark.slow
def test_the_command_line(tmp_path):
    """Killed, not replaced by accident, continued by torchrun and by one process."""
    run, reference = tmp_path / "run", tmp_path / "reference"
    command = ["-m", "aepipe", "train", *DIGITS, "--epochs", "5000", "-o", str(run)]
    process = subprocess.Popen([*TORCHRUN, *command], stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    deadline = time.monotonic() + 120
    while not (run / "last.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(second_worker(process.pid), signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode != 0 and not Run(run).finished

    refused = torchrun(*command)
    assert refused.returncode != 0 and refused.stderr.count("error: ") == 1, refused.stderr
    assert f"error: the run {run} exists\nhint: continue it with 'aepipe train --resume {run}'" in refused.stderr

    epochs = Run(run).history[-1]["epoch"] + 2
    again = torchrun("-m", "aepipe", "train", "--resume", run, "--epochs", epochs)
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("best epoch") == 1
    assert resume(run, epochs=epochs + 1, show=False).finished
    options = {"latent_dim": 2, "batch_size": 32, "limit": 200, "precision": "fp32", "device": "cpu", "show": False}
    options |= {"encoder": "mlp:hidden=16", "decoder": "mlp:hidden=16", "epochs": epochs + 1}
    aepipe.fit("digits:size=8", out=reference, **options)
    for ours, theirs in zip(Run(run).history, Run(reference).history, strict=True):
        assert ours["validation_mse"] == pytest.approx(theirs["validation_mse"], rel=1e-3)


def second_worker(launcher: int) -> int:
    """The child of torchrun whose rank is 1."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children")
    if not children.exists():
        pytest.skip("needs Linux")
    for child in map(int, children.read_text(encoding="utf-8").split()):
        if b"\0RANK=1\0" in Path(f"/proc/{child}/environ").read_bytes():
            return child
    raise AssertionError("torchrun has no second worker")
