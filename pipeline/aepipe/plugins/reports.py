"""What the hooks that follow a training and an export are called with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class RunReport:
    """The argument of the hooks `run_started` and `run_finished`."""

    directory: Path
    configuration: dict[str, Any]  # a copy of what run.json holds; of a finished run with "metrics" of the test images
    history: list[dict[str, Any]]  # the metrics of all epochs so far; none where a run begins


@dataclass
class EpochReport:
    """The argument of the hook `epoch_finished`; setting `stop` to True ends training after this epoch."""

    epoch: int
    metrics: dict[str, Any]
    directory: Path
    history: list[dict[str, Any]]  # the metrics of all epochs so far, this one included
    patience: int
    configuration: dict[str, Any]  # a copy of what run.json holds
    stop: bool = False
    selects: str = "validation_mse"  # the metric by which the best epoch is picked: the lowest


@dataclass
class BundleReport:
    """The argument of the hook `exported`."""

    directory: Path
    manifest: dict[str, Any]  # what manifest.json holds
    run: Path | None  # the folder of the run that was exported; None of modules that were trained without aepipe
