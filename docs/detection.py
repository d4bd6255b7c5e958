"""One-class detection: a model for each class, trained on that class alone, tells it from the others in the test split."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import aepipe
import numpy as np
from aepipe.images.data import open_images
from aepipe.judging.one_class import one_class
from aepipe.progress import say

SCORES = ("error", "log_density", "combined")
# Mean areas over the ten classes as they are given by Kim et al., RaPP, ICLR 2020, and by Golan and El-Yaniv, NeurIPS 2018.
PUBLISHED = [
    ("mnist", "RaPP's autoencoder, by error", 0.972),
    ("mnist", "GT", 0.974),
    ("mnist", "RaPP's NAP", 0.979),
    ("mnist", "RaPP's SAP", 0.980),
    ("fashion-mnist", "GT", 0.935),
]


def available(data: str) -> bool:
    """Whether a data set is there or can be downloaded; if not, the reason is printed."""
    try:
        for split in ("test", "train"):
            open_images(data, split=split)
    except aepipe.AepipeError as error:
        say(f"without {data}: {error}")
        return False
    return True


def detection(data: str, classes: range, models: dict[str, dict[str, Any]], runs: Path) -> dict[str, dict[str, float]]:
    """The area under the ROC curve, averaged over the classes, by model and score. `models` holds options of `aepipe.fit`."""
    test, train = (open_images(data, split=split) for split in ("test", "train"))
    found = {}
    for name, options in models.items():
        areas = []
        for label in classes:
            run = runs / f"only-{data}-{name}-{label}"
            bundle = runs / "exported" / run.name
            if not (bundle / "manifest.json").exists():
                made = aepipe.fit(f"{data}:only={label}", out=run, overwrite=True, show=False, **options)
                made.export(bundle, show=False)
            with aepipe.load(bundle, "cpu", batch_size=500) as model, contextlib.redirect_stderr(io.StringIO()):
                areas.append(one_class(model, test, train, label, model.bundle.densities[-1])["auroc"])
        found[name] = {score: float(np.mean([each[score] for each in areas])) for score in SCORES}
    return found
