"""Trains in child processes and kills them: a program that workshop/test_resume.py runs.

    python -m tests.programs.killing FOLDER SCENARIO:KIND…

The kind `random` kills at random moments, again and again; `half` and `after` kill at every single file that a run
writes: with half of it written, and just after it was moved into place. Each run is then resumed until it ends by itself.
FOLDER/SCENARIO/reference is the run that nothing disturbed, the folders beside it must equal it. Prints, as JSON, how
often it killed.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # no thread pool, hence nothing that a fork would break

import numpy as np
from aepipe import hookimpl, plugins
from aepipe.files.staged import Staged
from aepipe.workshop.fit import fit, resume
from aepipe.workshop.training import finish
from torch import nn

from tests.helpers.images import blobs

SCENARIOS = {
    "plain": {"epochs": 2},
    "bf16": {"epochs": 3, "precision": "bf16"},
    "corrupt": {"epochs": 3, "corrupt": "gaussian:sigma=0.3"},
    "vae-cosine": {"epochs": 3, "objective": "vae", "schedule": "cosine"},
    "patience": {"epochs": 50, "patience": 2, "lr": 0.03},
    "pca-deconv": {"epochs": 3, "encoder": "pca", "corrupt": "erase"},
    "batch-norm": {"epochs": 3, "encoder": "normed", "decoder": "mlp:hidden=16"},
}


class Normed:
    """An encoder with a state that is not trained, and with randomness."""

    @hookimpl
    def register_encoders(self, register):
        def normed(shape, features):
            size = shape[0] * shape[1] * shape[2]
            return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(size), nn.Dropout(0.2), nn.Linear(size, features))

        register(normed)


def in_child(work: Callable[[], object], kill_after: float | None = None) -> int:
    """Run `work` in a child; returns its exit code, or minus the signal that ended it."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_at(number: int, kind: str) -> None:
    """Have this process killed at the `number`-th file that it puts in place."""
    commit, count = Staged.commit, 0

    def counted(self: Staged) -> None:
        nonlocal count
        count += 1
        if count == number and kind == "half":
            os.truncate(self.temporary, self.temporary.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        commit(self)
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)

    Staged.commit = counted  # type: ignore[method-assign]


def main(folder: Path, scenario: str, kind: str) -> int:
    options = {"batch_size": 30, "latent_dim": 3, "decoder": "deconv:channels=8", "encoder": "conv:channels=8"}
    options |= {"precision": "fp32", "show": False, **SCENARIOS[scenario]}
    data = blobs(150, times=3)
    folder = folder / scenario

    def start(out: Path) -> None:
        fit(data, out=out, **options)

    began = time.monotonic()
    if not (folder / "reference").exists():
        in_child_or_fail(lambda: start(folder / "reference"))
    duration = time.monotonic() - began
    if kind == "random":
        return kill_at_random(folder / "killed", start, data, duration)
    for number in range(1, 100):
        out = folder / f"{kind}-{number}"

        def disturbed(out: Path = out, number: int = number) -> None:
            kill_at(number, kind)
            start(out)

        if in_child(disturbed) == 0:  # so many files are not written
            return number - 1
        begun = (out / "run.json").exists()
        in_child_or_fail((lambda out=out: resume(out, data, show=False)) if begun else (lambda out=out: start(out)))
    raise SystemExit("no run ended by itself")


def kill_at_random(out: Path, start: Callable[[Path], object], data: np.ndarray, duration: float) -> int:
    random.seed(out.parent.name)
    kills = 0
    while True:
        begun = (out / "run.json").exists()
        work = (lambda: resume(out, data, show=False)) if begun else (lambda: start(out))
        code = in_child(work, kill_after=random.uniform(0, duration) if kills < 4 else None)
        if code not in (0, -signal.SIGKILL):
            raise SystemExit(f"a resumed run failed with {code}")
        if code == 0 and kills:
            return kills
        if code == 0:  # it was quicker than the reference
            shutil.rmtree(out)
            duration *= 0.7
        else:
            kills += 1


def in_child_or_fail(work: Callable[[], object]) -> None:
    if code := in_child(work):
        raise SystemExit(f"a run ended with {code}")


if __name__ == "__main__":
    finish._draw = lambda *_: None  # the figure takes longer than all the training
    plugins.registry().register(Normed(), "normed")
    fit(
        blobs(150, times=3), epochs=2, out=Path(sys.argv[1]) / "warm-up", show=False
    )  # what torch imports late is imported once
    jobs = [job.split(":") for job in sys.argv[2:]]
    print(json.dumps({f"{name}:{kind}": main(Path(sys.argv[1]), name, kind) for name, kind in jobs}))
