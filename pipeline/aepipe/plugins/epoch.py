"""What plugins are told at the end of each epoch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class EpochReport:
    """What `epoch_finished` is called with; setting `stop` ends training after this epoch."""

    epoch: int
    metrics: dict[str, Any]
    directory: Path
    history: list[dict[str, Any]]  # the metrics of all epochs so far, this one included
    patience: int
    stop: bool = False
