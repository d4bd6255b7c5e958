"""What happens between epochs."""

from __future__ import annotations

from aepipe import hookimpl


@hookimpl
def epoch_finished(run):
    """Early stopping: end training when what picks the best epoch has not improved for `patience` epochs."""
    best = min(run.history, key=lambda row: row[run.selects])
    if run.patience and run.epoch - best["epoch"] >= run.patience:
        run.stop = True
