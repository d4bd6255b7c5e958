"""TensorBoard: every run has its events in RUN/tensorboard, where the package `tensorboard` is installed."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from aepipe import hookimpl

FOLDER = "tensorboard"

_writers: dict[Path, Any] = {}  # of the runs that train in this process


@hookimpl
def run_started(run):
    if find_spec("tensorboard") is None:
        return
    from torch.utils.tensorboard import SummaryWriter

    folder, epochs = run.directory / FOLDER, len(run.history)
    if run.directory in _writers:
        _writers.pop(run.directory).close()
    if not epochs:  # a run that was replaced may have left events here
        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
    # A run that was killed may have logged an epoch that it now repeats: TensorBoard forgets the first of them.
    _writers[run.directory] = writer = SummaryWriter(str(folder), purge_step=epochs + 1 if epochs else None)
    if not epochs:
        writer.add_text("configuration", f"```json\n{json.dumps(run.configuration, indent=2)}\n```")


@hookimpl
def epoch_finished(run):
    if writer := _writers.get(run.directory):
        for name, value in run.metrics.items():
            if name != "epoch":
                writer.add_scalar(name, value, run.epoch)
        writer.flush()


@hookimpl
def run_finished(run):
    if writer := _writers.pop(run.directory, None):
        metrics = dict(run.configuration["metrics"])
        split, epochs = metrics.pop("split"), metrics.pop("epochs")
        for name, value in metrics.items():
            writer.add_scalar(f"{split}/{name}", value, epochs)
        writer.close()


@hookimpl
def exported(bundle):
    """The preview that the bundle carries, beside the curves of its run."""
    preview = bundle.directory / "preview.png"
    if bundle.run is None or not (bundle.run / FOLDER).is_dir() or not preview.exists() or not find_spec("tensorboard"):
        return
    import numpy as np
    from PIL import Image
    from torch.utils.tensorboard import SummaryWriter

    with Image.open(preview) as image, SummaryWriter(str(bundle.run / FOLDER)) as writer:
        pixels = np.asarray(image.convert("RGB"))
        writer.add_image("preview", pixels, bundle.manifest["metrics"]["epochs"], dataformats="HWC")
