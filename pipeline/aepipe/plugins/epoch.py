"""The report that plugins get at the end of each epoch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class EpochReport:
    """The argument of the hook `epoch_finished`; setting `stop` to True ends training after this epoch."""

    epoch: int
    metrics: dict[str, Any]
    directory: Path
    history: list[dict[str, Any]]  # the metrics of all epochs so far, this one included
    patience: int
    stop: bool = False
    selects: str = "validation_mse"  # the metric by which the best epoch is picked: the lowest
