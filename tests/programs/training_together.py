"""Trains one job after another in every process that torchrun starts: a program that
workshop/training/test_team.py runs.

    torchrun --nproc-per-node N -m tests.programs.training_together FOLDER

Each job's run lies in FOLDER/JOB; how the job ended in this process is written to FOLDER/RANK.json.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import aepipe
import torch
from aepipe import hookimpl, plugins
from torch import nn

from tests.helpers.adversarial import Objectives
from tests.helpers.images import blobs
from tests.helpers.settings import NETWORKS

COUNT = 45  # images, of which 41 train
SMALL = {**NETWORKS, "epochs": 2, "batch_size": 20, "precision": "fp32", "device": "cpu"}

ALIKE = {  # these end as in one process; the last batch is one image, so that a share is empty
    "plain": {},
    "tiny-batches": {"batch_size": 1, "epochs": 1},
    "corrupt": {"corrupt": "gaussian:sigma=0.3"},
    "unused": {"encoder": "unused"},
    "pca": {"encoder": "pca", "decoder": "pca"},
    "pca-mlp": {"encoder": "pca"},
    "adversary": {"objective": "adversarial:noisy=false", "optimiser": "adamw", "clip": 1.0, "ema": 0.9},
    "patience": {"epochs": 30, "patience": 1, "lr": 0.1},
}
NOISY = {"vae": {"objective": "vae"}, "batch-norm": {"encoder": "normed", "batch_size": 41}}
FAILING = {
    "plain": {},  # exists
    "explodes": {"lr": 1e9},
    "second-fails": {"encoder": "unsteady"},
    "interrupted": {"decoder": "interrupted"},
    "misspelt": {"encoder": "cnov"},
}


class Unused(nn.Module):
    """An encoder with a parameter that no process uses."""

    def __init__(self, shape: tuple[int, int, int], features: int):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, features))
        self.idle = nn.Parameter(torch.ones(3))

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return self.net(value)


class Fails(nn.Module):
    """Raises in one process, in its second training step."""

    def __init__(self, rank: int, error: type[BaseException], net: nn.Module):
        super().__init__()
        self.rank, self.error, self.net, self.calls = rank, error, net, 0

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        self.calls += self.training and torch.is_grad_enabled()
        if self.calls == 2 and int(os.environ["RANK"]) == self.rank:
            raise self.error("out of luck")
        return self.net(value)


class Networks:
    @hookimpl
    def register_encoders(self, register):
        register(Unused, name="unused")
        flat = nn.Flatten
        register(lambda shape, n: nn.Sequential(flat(), nn.BatchNorm1d(64), nn.Linear(64, n)), name="normed")
        register(lambda shape, n: Fails(1, ValueError, nn.Sequential(flat(), nn.Linear(64, n))), name="unsteady")

    @hookimpl
    def register_decoders(self, register):
        def interrupted(latent, shape):
            return Fails(0, KeyboardInterrupt, nn.Sequential(nn.Linear(latent, 64), nn.Unflatten(1, shape)))

        register(interrupted)


def ending(out: Path, options: dict) -> list[str]:
    """Train; how that ended: the type of the exception and what it says, or the epochs."""
    try:
        run = aepipe.fit(blobs(COUNT), out=out, **{**SMALL, **options})
        return ["finished", str(run.config["metrics"]["epochs"])]
    except BaseException as error:
        return [type(error).__name__, str(error)]


def main() -> None:
    folder = Path(sys.argv[1])
    plugins.registry().register(Networks(), "networks")
    plugins.registry().register(Objectives(), "objectives")
    jobs = [*ALIKE.items(), *NOISY.items(), *FAILING.items()]
    endings = [[name, *ending(folder / name, options)] for name, options in jobs]
    (folder / f"{os.environ['RANK']}.json").write_text(json.dumps(endings))


if __name__ == "__main__":
    main()
